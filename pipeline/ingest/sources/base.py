"""Common options of all sources, and how metadata from params, file and environment is combined."""

import dataclasses
from collections.abc import Iterable
from dataclasses import field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.data.spec import LAST, RANDOM
from pipeline.envs.action_space import CONTINUOUS, DISCRETE, KINDS
from pipeline.envs.permission import ForbiddenError
from pipeline.envs.registration import REBUILT
from pipeline.envs.registration import chain as env_chain
from pipeline.ingest.reference_scores import reference_scores
from pipeline.ingest.sources.environment import NONE, Bounds, Environment, LogForm, MisfitError, fitting
from pipeline.ingest.sources.option_types import EnvironmentId, PackageName, TransformName
from pipeline.ingest.sources.plain_files import refuse_special
from pipeline.ingest.split import CHOICES, GAP
from pipeline.validation import (
    OPTIONS,
    FilePath,
    Float,
    Fraction,
    Int,
    Name,
    Number,
    OneOf,
    OpenFraction,
    PositiveInt,
    Seed,
    Text,
)

if TYPE_CHECKING:
    import tempfile

INSTALL = "correct it, or install its package"


@dataclass(frozen=True, config=OPTIONS)
class SourceConfig:
    """Options of every source.

    Null options are taken from the file, then from the environment. ``action_quantile`` trades reach for resolution:
    logged actions beyond the bounds stay as they are, but the policy cannot choose them. Of two values of
    ``train_share``, the smaller one keeps a subset of the episodes of the larger one.
    """

    path: FilePath  # file or folder of the logs; DVC watches its bytes
    held_out_path: FilePath  # held-out logs of the same layout; the same as path: episodes are split
    name: Name | None = None  # name of the dataset in reports; null: from the file
    # Gymnasium id of the environment; null: from the file; none: no environment, even if the file names one
    env_id: EnvironmentId | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments for making the environment
    # installed packages whose code an environment may run, such as gymnasium_robotics; Gymnasium's own needs none
    env_packages: list[PackageName] = field(default_factory=list)
    action_kind: Annotated[str, OneOf(KINDS)] | None = None  # null: from the file or environment, else continuous
    # number of discrete actions, whole numbers from action_low
    action_count: Annotated[Int, Field(ge=2, le=65_536)] | None = None
    # lower bounds of actions, one number each; null: from the file or the environment, else inferred with a warning
    action_low: list[Number] | None = None
    action_high: list[Number] | None = None  # upper bounds of actions; see action_low
    # share of logged actions beyond either bound; null: bounds include all. For logs that use a small part of the range
    action_quantile: Annotated[Float, Field(gt=0, lt=0.5)] | None = None
    ref_min_score: Number | None = None  # return that scores 0; null: from the file, then D4RL's table
    ref_max_score: Number | None = None  # return that scores 100; null: from the file, then D4RL's table
    license: Text | None = None  # license of the logs; null: from the file
    held_out_fraction: OpenFraction = 0.1  # share of the log that is held out, where both paths are the same
    # what is held out: random episodes, the last part of the log in time, or the episodes of random groups. `last` cuts
    # an episode where fewer than two whole ones lie in the last part
    split: Annotated[str, OneOf(CHOICES)] = RANDOM
    # steps left out where an episode is cut; at least `fit.window`, `world_model.history` and `exogenous_forecast`, so
    # that no training window reaches into the held-out part
    split_gap: PositiveInt = GAP
    split_seed: Seed = 0  # seed of a random split and of one by group
    train_share: Annotated[Float, Field(gt=0, le=1)] = 1.0  # share of the training episodes that are kept
    # largest share of the summed absolute reward that may be dropped with last steps that have neither a next
    # observation nor a true end; more is allowed where rewards are dense, much the same at these steps as elsewhere
    max_dropped_return: Fraction = 0.01
    # features that no action changes, such as weather or prices: the world model takes them and never predicts them
    exogenous_columns: list[Text] = field(default_factory=list)
    # future values of each exogenous feature that are known at a step and become features of it; 0: the present alone
    exogenous_forecast: Annotated[Int, Field(ge=0, le=1000)] = 0
    transform: TransformName | None = None  # file:function, see data/transforms

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

    obs_names: dict[str, list[str]] = field(default_factory=dict)
    obs_keys: list[str] | None = None  # of the observations that are read; None: all
    action_names: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)  # of features and actions, by name
    action_kind: str | None = None
    integer_actions: str | None = None  # place of actions stored as integers, which may be discrete or continuous
    bounds: Bounds | None = None
    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    max_episode_steps: int | None = None
    references: tuple[float, float] | None = None
    license: str | None = None


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

    The environment is compared with the first episode, which is read for that. Raises ValueError if the environment
    named in params cannot be made or does not fit the log, and if integer actions may be discrete or continuous.
    """
    episodes, first = _peek(episodes) if _wants_environment(config, log) else (episodes, None)
    env = _environment(config, log, first) if first is not None else Environment()
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
        action_names=log.action_names,
        units=log.units,
        env_id=env.env_id,
        env_kwargs=env.env_kwargs,
        max_episode_steps=log.max_episode_steps or env.max_episode_steps,
        ref_min_score=references[0] if references else None,
        ref_max_score=references[1] if references else None,
        ref_source=ref_source,
        license=config.license or log.license,
        dropped=dropped,
        warnings=[*warnings, *env.warnings],
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
    """``path`` itself. Raises ValueError if it does not exist, or is or holds anything but files and folders; ``param``
    is the key of params.yaml that names it."""
    if not path.exists():
        raise ValueError(f"{path}: not found; correct `dataset.{param}` in params.yaml")
    refuse_special(path)
    return path


def _wants_environment(config: SourceConfig, log: LogSpec) -> bool:
    return config.env_id != NONE and (config.env_id or log.env_id) is not None


def _peek(episodes: Iterable[Episode]) -> tuple[Iterable[Episode], Episode | None]:
    """All ``episodes``, and the first of them; None if there is none."""
    rest = iter(episodes)
    first = next(rest, None)
    return ([] if first is None else chain([first], rest)), first


def _environment(config: SourceConfig, log: LogSpec, first: Episode) -> Environment:
    """The environment of params or of the log. One that the log names is left out, with a warning, if it cannot be made
    or does not fit; one of params is refused."""
    env_id, env_kwargs = _named_environment(config, log)
    assert env_id is not None
    name = " of ".join(env_chain(env_id, env_kwargs))
    kind = config.action_kind or log.action_kind
    low, high = _bounds(config, [log.bounds]) if kind == DISCRETE else log.bounds or (None, None)
    form = LogForm.of(
        first,
        action_kind=kind,
        bounds=None if low is None or high is None else (low, high),
        obs_names=log.obs_names,
        max_episode_steps=log.max_episode_steps if env_id == log.env_id else None,
        obs_keys=log.obs_keys,
    )
    try:
        return fitting(env_id, env_kwargs, form)
    except MisfitError as misfit:
        if config.env_id is not None:
            own = f", or null for that of the log, {log.env_id}" if log.env_id not in (None, env_id) else ""
            fix = f"correct `dataset.env_id` and `dataset.env_kwargs`, or set `dataset.env_id: none`{own}"
            raise ValueError(f"{config.path}: {misfit}; {misfit.fix or fix}") from None
        fix = "set `dataset.env_id` and `dataset.env_kwargs` to one that fits"
        return Environment(warnings=[f"{name} does not fit ({misfit}): the policy is evaluated without it; {fix}"])
    except ForbiddenError as error:
        if config.env_id is not None:
            raise ValueError(f"params.yaml: `dataset.env_id: {env_id}`: {error}") from None
        return Environment(warnings=[f"{name} is not made: {error}; until then the policy is evaluated without it"])
    except Exception as error:  # constructors of environments may raise anything
        reason = " ".join(str(error).partition(" was raised from the environment creator")[0].split())
        if config.env_id is not None:
            fix = "correct `dataset.env_kwargs`" if isinstance(error, TypeError) else INSTALL
            raise ValueError(f"params.yaml: `dataset.env_id: {env_id}` cannot be made: {reason}; {fix}") from None
        chosen = "" if env_id == REBUILT else f" and set `dataset.env_id: {env_id}`"
        fix = f"install its package{chosen}"
        return Environment(warnings=[f"{name} cannot be made ({reason}): the policy is evaluated without it; {fix}"])


def _named_environment(config: SourceConfig, log: LogSpec) -> tuple[str | None, dict[str, Any]]:
    """Id and arguments of the environment, from params or from the log. The log's arguments are for its own id."""
    if config.env_id in (None, log.env_id):
        return log.env_id, config.env_kwargs or log.env_kwargs
    return config.env_id, config.env_kwargs


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
    named = (log.env_id, log.env_kwargs) if config.env_id == NONE else _named_environment(config, log)
    names = env_chain(*named)
    table = reference_scores(names[-1]) if names else None
    return table, "D4RL table" if table else None
