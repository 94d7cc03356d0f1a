"""Agents in real environments, scores, and what can be said about them from few seeds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """The ``evaluation`` block of params.yaml. ``seed`` is the first episode's; episode i is seeded ``seed + i``."""

    episodes: int = 100  # for each policy
    env_batch: int = 25  # environments stepped side by side; does not change results
    seed: int = 10_000
    max_steps: int | None = None  # None: the environment's own time limit
    bootstrap: int = 2000  # resamples behind every interval
    imagined_horizon: int = 100  # steps
    imagined_starts: int = 256  # held-out states from which imagination starts

    def __post_init__(self) -> None:
        for name in ("episodes", "env_batch", "bootstrap", "imagined_horizon", "imagined_starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
