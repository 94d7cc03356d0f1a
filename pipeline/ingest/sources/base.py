"""Common options of all sources, and how metadata from params, file and environment is combined."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.data.spec import LAST, RANDOM
from pipeline.envs.action_space import CONTINUOUS, DISCRETE, KINDS
from pipeline.envs.registration import chain, make
from pipeline.ingest.reference_scores import reference_scores
from pipeline.ingest.split import CHOICES, GAP
from pipeline.validation import OPTIONS, Float, Fraction, Int, NonNegativeInt, OneOf, OpenFraction, PositiveInt

if TYPE_CHECKING:
    import tempfile

    from gymnasium.spaces import Space


Bounds = tuple[list[float], list[float]]


def _file_and_function(text: str) -> str:
    if not re.fullmatch(r"\w+:\w+", text):
        raise ValueError("must read file:function, for data/transforms/file.py")
    return text


@dataclass(frozen=True, config=OPTIONS)
class SourceConfig:
    """Options of every source.

    Null options are taken from the file, then from the environment. ``action_quantile`` trades reach for resolution:
    logged actions beyond the bounds stay as they are, but the policy cannot choose them. Of two values of
    ``train_share``, the smaller one keeps a subset of the episodes of the larger one.
    """

    path: str  # file or folder of the logs; DVC watches its bytes
    held_out_path: str  # held-out logs of the same layout; the same as path: episodes are split
    name: str | None = None  # name of the dataset in reports; null: from the file
    env_id: str | None = None  # Gymnasium id of the environment; null: from the file
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments for making the environment
    action_kind: Annotated[str, OneOf(KINDS)] | None = None  # null: from the file or environment, else continuous
    action_count: Annotated[Int, Field(ge=2)] | None = None  # number of discrete actions, whole numbers from action_low
    # lower bounds of actions, one number each; null: from the file or the environment, else inferred with a warning
    action_low: list[Float] | None = None
    action_high: list[Float] | None = None  # upper bounds of actions; see action_low
    # share of logged actions beyond either bound; null: bounds include all. For logs that use a small part of the range
    action_quantile: Annotated[Float, Field(gt=0, lt=0.5)] | None = None
    ref_min_score: Float | None = None  # return that scores 0; null: from the file, then D4RL's table
    ref_max_score: Float | None = None  # return that scores 100; null: from the file, then D4RL's table
    license: str | None = None  # license of the logs; null: from the file
    held_out_fraction: OpenFraction = 0.1  # share of the log that is held out, where both paths are the same
    # what is held out: random episodes, the last part of the log in time, or the episodes of random groups. `last` cuts
    # an episode where fewer than two whole ones lie in the last part
    split: Annotated[str, OneOf(CHOICES)] = RANDOM
    # steps left out where an episode is cut; at least `fit.window`, `world_model.history` and `exogenous_forecast`, so
    # that no training window reaches into the held-out part
    split_gap: PositiveInt = GAP
    split_seed: NonNegativeInt = 0  # seed of a random split and of one by group
    train_share: Annotated[Float, Field(gt=0, le=1)] = 1.0  # share of the training episodes that are kept
    # largest share of the summed absolute reward that may be dropped with last steps that have neither a next
    # observation nor a true end; twice their share of the steps is always allowed
    max_dropped_return: Fraction = 0.01
    # features that no action changes, such as weather or prices: the world model takes them and never predicts them
    exogenous_columns: list[str] = field(default_factory=list)
    # future values of each exogenous feature that are known at a step and become features of it; 0: the present alone
    exogenous_forecast: NonNegativeInt = 0
    transform: Annotated[str, AfterValidator(_file_and_function)] | None = None  # file:function, see data/transforms

    @model_validator(mode="after")
    def _actions_agree(self) -> Self:
        if self.action_count is not None and self.action_kind != DISCRETE:
            raise ValueError(f"action_count {self.action_count} needs `action_kind: discrete`")
        if self.action_quantile is not None and self.action_kind == DISCRETE:
            raise ValueError(f"action_quantile {self.action_quantile}: discrete actions have none; set it to null")
        return self

    @model_validator(mode="after")
    def _split_agrees(self) -> Self:
        if self.split != RANDOM and Path(self.path) != Path(self.held_out_path):
            fix = "set `held_out_path` to the same as `path`"
            raise ValueError(f"split {self.split} divides one log, but another file is held out; {fix}")
        if self.exogenous_forecast >= self.split_gap and self.split == LAST:
            raise ValueError(f"exogenous_forecast {self.exogenous_forecast} must be below split_gap {self.split_gap}")
        return self

    @model_validator(mode="after")
    def _references_agree(self) -> Self:
        low, high = self.ref_min_score, self.ref_max_score
        if (low is None) != (high is None):
            raise ValueError("give both ref_min_score and ref_max_score, or neither")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"ref_min_score {low} must be below ref_max_score {high}")
        return self

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


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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


def require_reward(config: SourceConfig, param: str, name: str | None) -> None:
    """Raises ValueError if the log has no reward (``name`` is None) and no transform of params.yaml defines one."""
    if name is None and config.transform is None:
        fix = "write a function that returns {'reward': ...} in data/transforms/mine.py, and set `transform: mine:NAME`"
        raise ValueError(f"{param} is null, so the log has no reward: {fix}")


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
