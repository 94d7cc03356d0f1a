"""Agents in real environments, scores, and what can be said about them from few seeds."""

from pydantic.dataclasses import dataclass

from pipeline.validation import OPTIONS, Flag, Horizon, Members, NonNegativeInt, PositiveInt, Seed, SmallCount


@dataclass(frozen=True, config=OPTIONS)
class EvaluationConfig:
    """The block ``evaluation`` of params.yaml."""

    episodes: PositiveInt = 100  # episodes of each policy
    env_batch: Members = 25  # environments stepped side by side; does not change results
    seed: Seed = 10_000  # seed of the first episode; episode i has seed + i
    max_steps: PositiveInt | None = None  # steps of an episode at most; null: the environment's own time limit
    bootstrap: SmallCount = 2000  # resamples behind every confidence interval
    imagined_horizon: Horizon = 100  # steps of the imagined rollouts that predict the return
    imagined_starts: PositiveInt = 256  # held-out states from which these rollouts start
    film: Flag = True  # draw one real episode of the first seed's policy, where the environment renders images


@dataclass(frozen=True, config=OPTIONS)
class MonitorConfig:
    """The block ``monitor`` of params.yaml: real episodes while policies learn, for the learning curves alone."""

    every: NonNegativeInt = 0  # updates between runs in the real environment; 0: never
    episodes: PositiveInt = 10  # episodes of each run
    seed: Seed = 20_000  # seed of the first episode; differs from those of the evaluation
