"""Logs made on the spot: seeded scripted behavior in a Gymnasium environment, stored as a real Minari dataset."""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.episode import LoggedData
from pipeline.envs.action_space import Actions, BoxActions, DiscreteActions
from pipeline.envs.registration import chain, make
from pipeline.ingest.sources.base import SourceConfig, combine, space_spec
from pipeline.ingest.sources.behaviors import BEHAVIORS, TASKS
from pipeline.ingest.sources.minari import minari_episodes, minari_facts, minari_root, open_minari, stored_size
from pipeline.params import did_you_mean

if TYPE_CHECKING:
    from minari.data_collector import EpisodeBuffer


@dataclass(frozen=True)
class BehaviorConfig:
    """One behavior of the mixture: its ``share`` of the episodes, and the standard deviation of Gaussian ``noise``, in
    the action's unit, added before actions are clipped to the bounds. Where actions are discrete, ``noise`` is the
    share of them that are drawn at random instead."""

    name: str = "random"
    share: float = 1.0
    noise: float = 0.0


def poor_and_fair() -> list[BehaviorConfig]:
    return [
        BehaviorConfig("swing_up", 0.35, 2.5),
        BehaviorConfig("weak_swing_up", 0.35, 0.5),
        BehaviorConfig("random", 0.3, 0.0),
    ]


@dataclass(frozen=True)
class CollectConfig(SourceConfig):
    """``path`` and ``held_out_path`` are not read. ``license`` defaults to that of this project."""

    env_id: str | None = "Pendulum-v1"
    license: str | None = "MIT"
    episodes: int = 200
    seed: int = 0
    behaviors: list[BehaviorConfig] = field(default_factory=poor_and_fair)

    @property
    def title(self) -> str:
        return f"{self.env_id} scripted"

    @property
    def environments(self) -> list[str]:
        """The environment and those it wraps; the last is the task that the behaviors are for."""
        return chain(self.env_id, self.env_kwargs)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.episodes < 2:
            raise ValueError(f"episodes {self.episodes}: collect two or more, for a train and a held-out split")
        if self.env_id is None:
            raise ValueError("env_id: collect needs an environment, such as Pendulum-v1")
        for behavior in self.behaviors:
            if behavior.name not in BEHAVIORS:
                raise ValueError(f"behavior `{behavior.name}` is unknown{did_you_mean(behavior.name, BEHAVIORS)}")
            task = self.environments[-1]
            if not task.startswith(meant := TASKS.get(behavior.name, "")):
                fitting = [name for name in BEHAVIORS if task.startswith(TASKS.get(name, ""))]
                raise ValueError(f"behavior `{behavior.name}` is for {meant}; {task} has {', '.join(fitting)}")
        if not any(b.share > 0 for b in self.behaviors) or any(b.share < 0 or b.noise < 0 for b in self.behaviors):
            raise ValueError("behaviors: shares and noise must not be negative, and some share must be positive")


class Collect:
    Config = CollectConfig

    def __init__(self, config: CollectConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        scratch = tempfile.TemporaryDirectory(prefix="collect-")
        dataset_id = collect_minari(self.config, Path(scratch.name))
        dataset = open_minari(Path(scratch.name), dataset_id)
        facts = minari_facts(dataset, dataset_id)
        episodes = minari_episodes(dataset, None)
        return combine(self.config, "collect", facts, episodes, 0, [], stored_size(dataset), scratch)


def collect_minari(config: CollectConfig, root: Path) -> str:
    """Run the behaviors and store a Minari dataset under ``root``; its id. Equal configs give equal bytes. Raises
    ValueError when the environment cannot be made or its actions are neither Box nor Discrete. Images are stored
    without loss, and one episode at a time is held in memory."""
    import minari

    assert config.env_id is not None
    try:
        env = make(config.env_id, config.env_kwargs)
    except Exception as error:  # an environment may raise anything while it is made
        reason = " ".join(str(error).split())
        raise ValueError(f"params.yaml: `dataset.env_id: {config.env_id}` cannot be made: {reason}") from None
    if space_spec(env.action_space)[0] is None:
        raise ValueError(f"{config.env_id}: actions are {env.action_space}: only Box and Discrete are supported yet")
    names = np.repeat(np.arange(len(config.behaviors)), _counts(config))
    buffers = (_episode(env, config.behaviors[b], config.seed, e) for e, b in enumerate(names))
    short = [name.split("/")[-1].rsplit("-v", 1)[0].lower() for name in reversed(config.environments)]
    dataset_id = f"{'-'.join(short)}/mixed-v0"
    with minari_root(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no author to name
        minari.create_dataset_from_buffers(
            dataset_id,
            buffers,  # type: ignore[arg-type]  # asks for a list, and goes through it once
            env=env,
            algorithm_name="scripted",
            description=_description(config),
            jpeg_encoding=False,
        )
    env.close()
    return dataset_id


def _counts(config: CollectConfig) -> list[int]:
    """Episodes of each behavior; rounding never changes the total."""
    shares = np.array([behavior.share for behavior in config.behaviors], np.float64)
    edges = np.round(np.cumsum(shares) / shares.sum() * config.episodes).astype(int)
    return np.diff(edges, prepend=0).tolist()


def _episode(env: Any, behavior: BehaviorConfig, seed: int, episode: int) -> "EpisodeBuffer":
    from minari.data_collector import EpisodeBuffer

    rng = np.random.default_rng([seed, episode])
    env_seed = int(rng.integers(2**31))
    obs, info = env.reset(seed=env_seed)
    observations, steps = [obs], list(_steps(env, behavior, info.get("state", obs), rng))
    actions, following, rewards, terminations, truncations = zip(*steps, strict=True)
    observations.extend(following)
    return EpisodeBuffer(
        id=episode,
        seed=env_seed,
        observations=_stacked(observations),
        actions=np.stack(actions),  # type: ignore[arg-type]
        rewards=list(rewards),
        terminations=list(terminations),
        truncations=list(truncations),
    )


def _steps(
    env: Any, behavior: BehaviorConfig, state: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    space, act, done = env.action_space, BEHAVIORS[behavior.name], False
    actions = BoxActions(space.low, space.high) if hasattr(space, "low") else DiscreteActions(space.n, space.start)
    while not done:
        action = np.asarray(_noisy(act(state, actions, rng), behavior.noise, actions, rng), space.dtype)
        obs, reward, terminated, truncated, info = env.step(action)
        state, done = info.get("state", obs), terminated or truncated
        yield action, obs, float(reward), terminated, truncated


def _noisy(action: Any, noise: float, actions: Actions, rng: np.random.Generator) -> Any:
    if isinstance(actions, BoxActions):
        return np.clip(action + rng.normal(0, noise, actions.low.shape), actions.low, actions.high)
    return actions.uniform(rng, 1)[0] if rng.random() < noise else action


def _stacked(observations: list[Any]) -> Any:
    """One array over time, or one for each key of dict observations."""
    if not isinstance(observations[0], dict):
        return np.stack(observations)
    return {key: _stacked([obs[key] for obs in observations]) for key in observations[0]}


def _description(config: CollectConfig) -> str:
    mixture = ", ".join(f"{b.name} {b.share:g} (noise {b.noise:g})" for b in config.behaviors)
    return f"Scripted behavior in {config.env_id}, seed {config.seed}: {mixture}."
