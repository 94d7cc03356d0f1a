"""Collect logs: run seeded scripted behaviors in a Gymnasium environment and store them as a Minari dataset."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import LoggedData
from pipeline.envs.action_space import Actions, BoxActions, DiscreteActions
from pipeline.envs.permission import ForbiddenError
from pipeline.envs.registration import PREPARED, chain, make
from pipeline.ingest.sources.base import SourceConfig
from pipeline.ingest.sources.behaviors import BEHAVIORS, TASKS
from pipeline.ingest.sources.environment import NONE
from pipeline.ingest.sources.minari import minari_root, open_minari, read_minari
from pipeline.ingest.sources.option_types import EnvironmentId
from pipeline.validation import OPTIONS, FilePath, Int, NonNegativeFloat, OneOf, Seed, Text

if TYPE_CHECKING:
    import gymnasium
    from minari.data_collector import EpisodeBuffer


@dataclass(frozen=True, config=OPTIONS)
class BehaviorConfig:
    """One scripted behavior of the mixture."""

    name: Annotated[str, OneOf(BEHAVIORS)] = "random"  # name of the behavior
    share: NonNegativeFloat = 1.0  # share of the episodes
    # standard deviation of Gaussian noise, in the action's unit; for discrete actions the share of random ones
    noise: NonNegativeFloat = 0.0


def poor_and_fair() -> list[BehaviorConfig]:
    """The default mixture for Pendulum: noisy, weak and random policies, no expert."""
    return [
        BehaviorConfig("swing_up", 0.35, 2.5),
        BehaviorConfig("weak_swing_up", 0.35, 0.5),
        BehaviorConfig("random", 0.3, 0.0),
    ]


@dataclass(frozen=True, config=OPTIONS)
class CollectConfig(SourceConfig):
    """Neither path is read."""

    path: FilePath = "data/logs"  # watched by DVC; collect reads no file
    held_out_path: FilePath = "data/logs"  # watched by DVC; collect reads no file
    env_id: EnvironmentId | None = "Pendulum-v1"  # Gymnasium id of the environment
    license: Text | None = "MIT"  # license of the logs; the default is this project's
    episodes: Annotated[Int, Field(ge=2, le=1_000_000)] = 200  # episodes to collect, for a train and a held-out split
    seed: Seed = 0  # seed of environment and noise
    behaviors: list[BehaviorConfig] = field(default_factory=poor_and_fair)  # scripted behaviors and their shares

    @property
    def title(self) -> str:
        """Name of the dataset if params give none."""
        return f"{self.env_id} scripted"

    @property
    def environments(self) -> list[str]:
        """The environment and those that it wraps; the last one is the task of the behaviors."""
        return chain(self.env_id, self.env_kwargs)

    @model_validator(mode="after")
    def _behaviors_fit(self) -> Self:
        if self.env_id in (None, NONE):
            raise ValueError("env_id: collect needs an environment, such as Pendulum-v1")
        task = self.environments[-1]
        for behavior in self.behaviors:
            if not task.startswith(meant := TASKS.get(behavior.name, "")):
                fitting = [name for name in BEHAVIORS if task.startswith(TASKS.get(name, ""))]
                raise ValueError(f"behavior `{behavior.name}` is for {meant}; env_id {task} has {', '.join(fitting)}")
        if not any(behavior.share > 0 for behavior in self.behaviors):
            raise ValueError("behaviors: some share must be positive")
        return self


class Collect:
    """Source that collects a new log instead of reading one."""

    Config = CollectConfig

    def __init__(self, config: CollectConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """Collect the log, kept in a temporary folder. Raises ValueError as :func:`collect_minari` does."""
        scratch = tempfile.TemporaryDirectory(prefix="collect-")
        dataset_id = collect_minari(self.config, Path(scratch.name))
        dataset = open_minari(Path(scratch.name), dataset_id)
        return read_minari(self.config, "collect", [(dataset, None)], minari=scratch)


def collect_minari(config: CollectConfig, root: Path) -> str:
    """Run the behaviors, store a Minari dataset under ``root``, and return its id.

    Equal configs give equal bytes. Images are stored without loss. One episode at a time is in memory. Raises
    ValueError if the environment cannot be made or its actions are neither Box nor Discrete.
    """
    import minari
    from gymnasium.spaces import Box, Discrete

    assert config.env_id is not None
    try:
        env = make(config.env_id, config.env_kwargs)
    except ForbiddenError as error:
        raise ValueError(f"params.yaml: `dataset.env_id: {config.env_id}`: {error}") from None
    except Exception as error:  # constructors of environments may raise anything
        reason = " ".join(str(error).split())
        fix = "correct it, or install its package"
        raise ValueError(f"params.yaml: `dataset.env_id: {config.env_id}` cannot be made: {reason}; {fix}") from None
    if not isinstance(env.action_space, Box | Discrete):
        wrapped = f"set `dataset.env_id: {PREPARED}` with `dataset.env_kwargs: {{env_id: {config.env_id}}}`"
        fix = f"{wrapped}, or choose one with Box or Discrete actions"
        raise ValueError(f"{config.env_id}: actions {env.action_space} are not supported; {fix}")
    names = np.repeat(np.arange(len(config.behaviors)), _counts(config))
    buffers = (_episode(env, config.behaviors[b], config.seed, e) for e, b in enumerate(names))
    short = [re.split("[/:]", name)[-1].rsplit("-v", 1)[0].lower() for name in reversed(config.environments)]
    dataset_id = f"{'-'.join(short)}/mixed-v0"
    with minari_root(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari warns about missing author metadata
        minari.create_dataset_from_buffers(
            dataset_id,
            buffers,  # type: ignore[arg-type]  # typed as a list, but any iterable works
            env=env,
            algorithm_name="scripted",
            description=_description(config),
            jpeg_encoding=False,
        )
    env.close()
    return dataset_id


def _counts(config: CollectConfig) -> list[int]:
    """Number of episodes of each behavior; after rounding they still add up to the total."""
    shares = np.array([behavior.share for behavior in config.behaviors], np.float64)
    edges = np.round(np.cumsum(shares) / shares.sum() * config.episodes).astype(int)
    return np.diff(edges, prepend=0).tolist()


def _episode(env: "gymnasium.Env[Any, Any]", behavior: BehaviorConfig, seed: int, episode: int) -> "EpisodeBuffer":
    from minari.data_collector import EpisodeBuffer

    rng = np.random.default_rng([seed, episode])
    env_seed = int(rng.integers(2**31))
    obs, info = env.reset(seed=env_seed)
    steps = _steps(env, behavior, info.get("state", obs), rng)
    actions, next_observations, rewards, terminations, truncations = zip(*steps, strict=True)
    return EpisodeBuffer(
        id=episode,
        seed=env_seed,
        observations=_stacked([obs, *next_observations]),
        actions=np.stack(actions),  # type: ignore[arg-type]
        rewards=list(rewards),
        terminations=list(terminations),
        truncations=list(truncations),
    )


def _steps(
    env: "gymnasium.Env[Any, Any]", behavior: BehaviorConfig, state: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """(action, next observation, reward, terminated, truncated) of each step until the episode ends."""
    space: Any = env.action_space  # Box or Discrete
    actions = BoxActions(space.low, space.high) if hasattr(space, "low") else DiscreteActions(space.n, space.start)
    act = BEHAVIORS[behavior.name]
    done = False
    while not done:
        action = np.asarray(_noisy(act(state, actions, rng), behavior.noise, actions, rng), space.dtype)[()]
        obs, reward, terminated, truncated, info = env.step(action)
        state, done = info.get("state", obs), terminated or truncated
        yield action, obs, float(reward), terminated, truncated


def _noisy(action: npt.ArrayLike, noise: float, actions: Actions, rng: np.random.Generator) -> Any:
    if isinstance(actions, BoxActions):
        return np.clip(np.asarray(action) + rng.normal(0, noise, actions.low.shape), actions.low, actions.high)
    return actions.uniform(rng, 1)[0] if rng.random() < noise else action


def _stacked(observations: list[Any]) -> Any:
    """One array over time, or one for each key of dict observations."""
    if not isinstance(observations[0], dict):
        return np.stack(observations)
    return {key: _stacked([obs[key] for obs in observations]) for key in observations[0]}


def _description(config: CollectConfig) -> str:
    mixture = ", ".join(f"{b.name} {b.share:g} (noise {b.noise:g})" for b in config.behaviors)
    return f"Scripted behavior in {config.env_id}, seed {config.seed}: {mixture}."
