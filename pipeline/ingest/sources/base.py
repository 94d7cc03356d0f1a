"""Common options of all sources, and how metadata from params, file and environment is combined."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
        """Name of the dataset if params give none."""
        return Path(self.path).stem

    @property
    def parts(self) -> list[tuple[Path, bool | None]]:
        """The files to read, each with its held-out flag; None if the file is split by episode."""
        if Path(self.path) == Path(self.held_out_path):
            return [(Path(self.path), None)]
        return [(Path(self.path), False), (Path(self.held_out_path), True)]


@dataclass(frozen=True)
class LogSpec:
    """Metadata that a log contains; None where it has none."""

    obs_dim: int | None = None
    obs_names: dict[str, list[str]] = field(default_factory=dict)
    action_kind: str | None = None
    integer_actions: str | None = None  # place of actions stored as integers, which may be discrete or continuous
    bounds: Bounds | None = None
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    references: tuple[float, float] | None = None
    license: str | None = None


@dataclass(frozen=True)
class EnvironmentSpec:
    """Metadata of the environment; None where it is unknown."""

    obs_dim: int | None = None
    action_kind: str | None = None
    bounds: Bounds | None = None
    max_episode_steps: int | None = None


def combine(
    config: SourceConfig,
    source: str,
    log: LogSpec,
    episodes: Iterable[Episode],
    dropped: int,
    warnings: list[str],
    size: int,
    minari: "tempfile.TemporaryDirectory[str] | None" = None,
    remarks: Remarks | None = None,
) -> LoggedData:
    """Metadata and episodes of a log. Params take precedence over the file, and the file over the environment.

    Raises ValueError if the environment named in params cannot be made or does not fit the log, and if integer actions
    may be discrete or continuous.
    """
    env, env_warnings = _environment_spec(config, log)
    declared_kind = config.action_kind or log.action_kind or env.action_kind
    if declared_kind is None and log.integer_actions is not None:
        fix = "set `dataset.action_kind` to `discrete` if they are choices, or `continuous` if they are amounts"
        raise ValueError(f"{log.integer_actions}; {fix}")
    kind = declared_kind or CONTINUOUS
    low, high = _bounds(config, [spec.bounds for spec in (log, env) if spec.action_kind in (None, kind)])
    references, ref_source = _references(config, log)
    return LoggedData(
        place=config.path,
        source=source,
        episodes=episodes,
        action_kind=kind,
        action_low=low,
        action_high=high,
        action_quantile=config.action_quantile,
        obs_names=log.obs_names,
        env_id=None if env_warnings else config.env_id or log.env_id,
        env_kwargs=config.env_kwargs or log.env_kwargs,
        max_episode_steps=log.max_episode_steps or env.max_episode_steps,
        ref_min_score=references[0] if references else None,
        ref_max_score=references[1] if references else None,
        ref_source=ref_source,
        license=config.license or log.license,
        dropped=dropped,
        warnings=[*warnings, *env_warnings],
        remarks=remarks or Remarks(),
        size=size,
        minari=minari,
    )


def require_path(path: Path, param: str = "path") -> Path:
    """``path`` itself. Raises ValueError if it does not exist; ``param`` is the key of params.yaml that names it."""
    if not path.exists():
        raise ValueError(f"{path}: not found; correct `dataset.{param}` in params.yaml")
    return path


def space_spec(space: "Space[Any]") -> tuple[str | None, Bounds | None]:
    """Kind and bounds of an action space; (None, None) unless it is a Box or Discrete."""
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete):
        return DISCRETE, ([float(space.start)], [float(space.start + space.n - 1)])
    return (CONTINUOUS, finite_bounds(space.low, space.high)) if isinstance(space, Box) else (None, None)


def finite_bounds(low: npt.ArrayLike, high: npt.ArrayLike) -> Bounds | None:
    """Bounds "A" of a Box as lists; None if any is infinite, since it then declares no range."""
    low, high = np.ravel(low).astype(float), np.ravel(high).astype(float)
    return (low.tolist(), high.tolist()) if np.isfinite([low, high]).all() else None


def _environment_spec(config: SourceConfig, log: LogSpec) -> tuple[EnvironmentSpec, list[str]]:
    env_id = config.env_id or log.env_id
    if env_id is None:
        return EnvironmentSpec(), []
    try:
        env = _query_environment(env_id, config.env_kwargs or log.env_kwargs)
    except Exception as error:  # constructors of environments may raise anything
        reason = " ".join(str(error).split())
        if config.env_id is not None:
            fix = "correct it, or install its package"
            raise ValueError(f"params.yaml: `dataset.env_id: {env_id}` cannot be made: {reason}; {fix}") from None
        return EnvironmentSpec(), [
            f"{env_id} cannot be made ({reason}): the policy is evaluated without it; install its package and set "
            f"`dataset.env_id: {env_id}`"
        ]
    if None not in (env.obs_dim, log.obs_dim) and env.obs_dim != log.obs_dim:
        raise ValueError(
            f"{config.path}: observations have {log.obs_dim} features, {env_id} has {env.obs_dim}; "
            "correct `dataset.env_id` or `dataset.env_kwargs`"
        )
    return env, []


def _query_environment(env_id: str, env_kwargs: dict[str, Any]) -> EnvironmentSpec:
    import gymnasium

    env = make(env_id, env_kwargs)
    obs_space, action_space = env.observation_space, env.action_space
    env.close()
    flat = isinstance(obs_space, gymnasium.spaces.Box) and len(obs_space.shape) == 1
    obs_dim = obs_space.shape[0] if flat and obs_space.shape is not None else None
    return EnvironmentSpec(obs_dim, *space_spec(action_space), env.spec.max_episode_steps if env.spec else None)


def _bounds(config: SourceConfig, declared: list[Bounds | None]) -> tuple[list[float] | None, list[float] | None]:
    bounds = next((bounds for bounds in declared if bounds is not None), None)
    if config.action_count is not None:
        first = config.action_low or (bounds[0] if bounds else [0.0])
        return first, [first[0] + config.action_count - 1]
    if config.action_low is not None or config.action_high is not None:
        return config.action_low, config.action_high
    return bounds or (None, None)


def _references(config: SourceConfig, log: LogSpec) -> tuple[tuple[float, float] | None, str | None]:
    if config.ref_min_score is not None and config.ref_max_score is not None:
        return (config.ref_min_score, config.ref_max_score), "params.yaml"
    if log.references is not None:
        low, high = log.references
        if not low < high:
            fix = "set `dataset.ref_min_score` and `dataset.ref_max_score`"
            raise ValueError(f"{config.path}: its metadata has reference scores {low:g} and {high:g}; {fix}")
        return log.references, "dataset metadata"
    names = chain(config.env_id or log.env_id, config.env_kwargs or log.env_kwargs)
    table = reference_scores(names[-1]) if names else None
    return table, "D4RL table" if table else None
