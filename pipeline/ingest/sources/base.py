"""What the sources share: the common options, and how facts from params, file and environment are combined."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.envs.action_space import CONTINUOUS, DISCRETE, KINDS
from pipeline.envs.registration import chain, make
from pipeline.ingest.reference_scores import reference_scores

if TYPE_CHECKING:
    import tempfile

    from gymnasium.spaces import Space


Bounds = tuple[list[float], list[float]]


@dataclass(frozen=True)
class SourceConfig:
    """Options of every source. ``held_out_path`` equal to ``path`` splits by ``held_out_fraction``; another file of the
    same layout is the held-out split. Bounds null: ask the file, then the environment, else infer with a warning; the
    same for ``action_kind`` and ``action_count``, but that an unknown kind is continuous. Discrete actions are whole
    numbers, one a step, whose bounds are the first and the last. ``action_quantile`` narrows the bounds to what the
    logs use: this share of the logged actions lies beyond either of them, as logged, and out of a policy's reach.
    References null: the file's metadata, then the D4RL table. ``train_share`` of the training episodes are kept, those
    of a smaller share among those of a larger one; the held-out split does not depend on it. ``transform`` is applied
    by the stage: see :mod:`pipeline.ingest.transform`."""

    path: str
    held_out_path: str
    name: str | None = None
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    action_kind: str | None = None  # continuous or discrete
    action_count: int | None = None  # of discrete actions
    action_low: list[float] | None = None
    action_high: list[float] | None = None
    action_quantile: float | None = None
    ref_min_score: float | None = None
    ref_max_score: float | None = None
    license: str | None = None
    held_out_fraction: float = 0.1
    split_seed: int = 0
    train_share: float = 1.0
    transform: str | None = None  # file:function, in data/transforms

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(f"held_out_fraction {self.held_out_fraction} must lie above 0 and below 1")
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share {self.train_share} must lie above 0 and be at most 1")
        if self.transform is not None and not re.fullmatch(r"\w+:\w+", self.transform):
            raise ValueError(f"transform `{self.transform}` must read file:function, for data/transforms/file.py")
        if self.action_kind not in (None, *KINDS):
            raise ValueError(f"action_kind `{self.action_kind}` must be one of {', '.join(KINDS)}, or null")
        if self.action_count is not None and (self.action_kind != DISCRETE or self.action_count < 2):
            raise ValueError(f"action_count {self.action_count} must be 2 or more, and needs `action_kind: discrete`")
        if self.action_quantile is not None and not (self.action_kind != DISCRETE and 0 < self.action_quantile < 0.5):
            raise ValueError(
                f"action_quantile {self.action_quantile} must lie between 0 and 0.5; discrete ones have none"
            )
        if (self.ref_min_score is None) != (self.ref_max_score is None):
            raise ValueError("give both ref_min_score and ref_max_score, or neither")
        if (
            self.ref_min_score is not None
            and self.ref_max_score is not None
            and self.ref_min_score >= self.ref_max_score
        ):
            raise ValueError(f"ref_min_score {self.ref_min_score} must lie below ref_max_score {self.ref_max_score}")

    @property
    def title(self) -> str:
        """What the dataset is called when params give no name."""
        return Path(self.path).stem

    @property
    def parts(self) -> list[tuple[Path, bool | None]]:
        """The files to read, each with its place in the split."""
        if Path(self.path) == Path(self.held_out_path):
            return [(Path(self.path), None)]
        return [(Path(self.path), False), (Path(self.held_out_path), True)]


@dataclass(frozen=True)
class FileFacts:
    """What a log says about itself."""

    obs_dim: int | None = None
    obs_names: dict[str, list[str]] = field(default_factory=dict)
    action_kind: str | None = None
    whole_actions: str | None = None  # where actions are stored as integers, which may be choices or amounts
    bounds: Bounds | None = None
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    references: tuple[float, float] | None = None
    license: str | None = None


@dataclass(frozen=True)
class EnvironmentSpec:
    obs_dim: int | None = None
    action_kind: str | None = None
    bounds: Bounds | None = None
    max_episode_steps: int | None = None


def combine(
    config: SourceConfig,
    source: str,
    facts: FileFacts,
    episodes: Iterable[Episode],
    dropped: int,
    warnings: list[str],
    size: int,
    minari: "tempfile.TemporaryDirectory[str] | None" = None,
    remarks: Remarks | None = None,
) -> LoggedData:
    """Params first, then the file, then the environment. Raises ValueError when the environment named in params cannot
    be made or does not fit the log, and when nobody says whether integers are choices or amounts."""
    env, problem = _environment_facts(config, facts)
    told = config.action_kind or facts.action_kind or env.action_kind
    if told is None and facts.whole_actions is not None:
        fix = "set `dataset.action_kind` to `discrete` where they are choices, or `continuous` where they are amounts"
        raise ValueError(f"{facts.whole_actions}; {fix}")
    kind = told or CONTINUOUS
    low, high = _bounds(config, [one.bounds for one in (facts, env) if one.action_kind in (None, kind)])
    references, ref_source = _references(config, facts)
    return LoggedData(
        place=config.path,
        source=source,
        episodes=episodes,
        action_kind=kind,
        action_low=low,
        action_high=high,
        action_quantile=config.action_quantile,
        obs_names=facts.obs_names,
        env_id=None if problem else config.env_id or facts.env_id,
        env_kwargs=config.env_kwargs or facts.env_kwargs,
        max_episode_steps=facts.max_episode_steps or env.max_episode_steps,
        ref_min_score=references[0] if references else None,
        ref_max_score=references[1] if references else None,
        ref_source=ref_source,
        license=config.license or facts.license,
        dropped=dropped,
        warnings=[*warnings, *problem],
        remarks=remarks or Remarks(),
        size=size,
        minari=minari,
    )


def existing(path: Path, param: str = "path") -> Path:
    """Raises ValueError when ``path`` does not exist."""
    if not path.exists():
        raise ValueError(f"{path}: not found; correct `dataset.{param}` in params.yaml")
    return path


def space_spec(space: "Space[Any]") -> tuple[str | None, Bounds | None]:
    """Kind and bounds of an action space, as far as it is one of ours."""
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete):
        return DISCRETE, ([float(space.start)], [float(space.start + space.n - 1)])
    return (CONTINUOUS, finite_bounds(space.low, space.high)) if isinstance(space, Box) else (None, None)


def finite_bounds(low: Any, high: Any) -> Bounds | None:
    """Bounds of a Box as lists, or None when any of them is infinite: an infinite bound declares nothing."""
    low, high = np.ravel(low).astype(float), np.ravel(high).astype(float)
    return (low.tolist(), high.tolist()) if np.isfinite([low, high]).all() else None


def _environment_facts(config: SourceConfig, facts: FileFacts) -> tuple[EnvironmentSpec, list[str]]:
    env_id = config.env_id or facts.env_id
    if env_id is None:
        return EnvironmentSpec(), []
    try:
        env = _ask_environment(env_id, config.env_kwargs or facts.env_kwargs)
    except Exception as error:  # an environment may raise anything while it is made
        reason = " ".join(str(error).split())
        if config.env_id is not None:
            raise ValueError(f"params.yaml: `dataset.env_id: {env_id}` cannot be made: {reason}") from None
        return EnvironmentSpec(), [
            f"{env_id} cannot be made here ({reason}): the policy is evaluated without it; once its package is "
            f"installed, set `dataset.env_id: {env_id}`"
        ]
    if None not in (env.obs_dim, facts.obs_dim) and env.obs_dim != facts.obs_dim:
        raise ValueError(
            f"{config.path}: observations have {facts.obs_dim} features, {env_id} has {env.obs_dim}; "
            "correct `dataset.env_id` or `dataset.env_kwargs`"
        )
    return env, []


def _ask_environment(env_id: str, env_kwargs: dict[str, Any]) -> EnvironmentSpec:
    import gymnasium

    env = make(env_id, env_kwargs)
    obs_space, action_space = env.observation_space, env.action_space
    env.close()
    flat = isinstance(obs_space, gymnasium.spaces.Box) and len(obs_space.shape) == 1
    obs_dim = obs_space.shape[0] if flat and obs_space.shape is not None else None
    return EnvironmentSpec(obs_dim, *space_spec(action_space), env.spec.max_episode_steps if env.spec else None)


def _bounds(config: SourceConfig, declared: list[Bounds | None]) -> tuple[list[float] | None, list[float] | None]:
    told = next((bounds for bounds in declared if bounds is not None), None)
    if config.action_count is not None:
        first = config.action_low or (told[0] if told else [0.0])
        return first, [first[0] + config.action_count - 1]
    if config.action_low is not None or config.action_high is not None:
        return config.action_low, config.action_high
    return told or (None, None)


def _references(config: SourceConfig, facts: FileFacts) -> tuple[tuple[float, float] | None, str | None]:
    if config.ref_min_score is not None and config.ref_max_score is not None:
        return (config.ref_min_score, config.ref_max_score), "params.yaml"
    if facts.references is not None:
        low, high = facts.references
        if not low < high:
            fix = "set `dataset.ref_min_score` and `dataset.ref_max_score`"
            raise ValueError(f"{config.path}: its metadata has reference scores {low:g} and {high:g}; {fix}")
        return facts.references, "dataset metadata"
    names = chain(config.env_id or facts.env_id, config.env_kwargs or facts.env_kwargs)
    table = reference_scores(names[-1]) if names else None
    return table, "D4RL table" if table else None
