"""The environment of a log: made once at ingest, compared with the log, and wrapped where that makes it fit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.episode import Episode
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.envs.registration import PREPARED, chain, make

if TYPE_CHECKING:
    from gymnasium import Env
    from gymnasium.spaces import Space

    from pipeline.envs.action_forms import ActionForm
    from pipeline.envs.spaces import ObsPart

NONE = "none"  # `env_id: none`: no environment, even if the log names one
Bounds = tuple[list[float], list[float]]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Environment:
    """The environment that fits a log, and what it says about actions; None where there is none or it is unknown."""

    env_id: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    action_kind: str | None = None
    bounds: Bounds | None = None
    max_episode_steps: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LogForm:
    """What an environment has to fit: the shapes of the log, and what params and the log declare."""

    shapes: Shapes  # of one observation, by key
    action_size: int  # numbers of one action
    action_kind: str | None
    bounds: Bounds | None  # of actions
    obs_names: Mapping[str, list[str]]
    max_episode_steps: int | None  # of the environment that made the log
    obs_keys: list[str] | None  # of the observations that are read; None: all

    @classmethod
    def of(cls, episode: Episode, **declared: Any) -> "LogForm":
        """The form of the log that begins with ``episode``; ``declared`` are the other fields."""
        shapes = {key: np.shape(value)[1:] for key, value in episode.obs.items()}
        return cls(shapes, math.prod(np.shape(episode.action)[1:]), **declared)


class MisfitError(ValueError):
    """An environment that does not fit the log, and what to do if that is not to choose another one."""

    def __init__(self, reason: str, fix: str | None = None) -> None:
        super().__init__(reason)
        self.fix = fix


def fitting(env_id: str, env_kwargs: dict[str, Any], log: LogForm) -> Environment:
    """The environment ``env_id``, wrapped if that makes it fit, with the time limit of the log.

    Raises MisfitError if it does not fit, and the errors of an environment that cannot be made.
    """
    from pipeline.envs.action_forms import action_form
    from pipeline.envs.spaces import leaves, obs_parts

    env = make(env_id, env_kwargs)
    obs_space, action_space = env.observation_space, env.action_space
    limit = env.spec.max_episode_steps if env.spec else None
    warnings = _running_statistics(env)
    env.close()
    name = " of ".join(chain(env_id, env_kwargs))
    try:
        parts = obs_parts(obs_space, log.obs_keys)
        form = action_form(action_space, log.action_kind == CONTINUOUS)
    except ValueError as error:
        raise MisfitError(f"{name}: {error}") from None
    flatten = _flattens(name, parts, log)
    _check_actions(name, form, log)
    warnings += _other_bounds(name, form, log)
    if log.max_episode_steps not in (None, limit) and "max_episode_steps" not in env_kwargs:
        limit = log.max_episode_steps
        env_kwargs = {**env_kwargs, "max_episode_steps": limit}
    if limit is None:
        warnings.append(f"{name} has no time limit: set `evaluation.max_steps`")
    changes = [change for change in (*(part.change for part in parts), form.change) if change]
    if flatten:
        changes.append(_order(parts))
    if changes:
        warnings.append(f"{name} is evaluated through {PREPARED}: {'; '.join(changes)}")
    keys = log.obs_keys if len(parts) < len(leaves(obs_space)) else None
    if changes or _renames(obs_space, parts):
        amounts = form.kind == CONTINUOUS and not _is_boxes(action_space)
        options = {"flatten": flatten, "amounts": amounts, "keys": keys}
        options = {option: value for option, value in options.items() if value}
        env_id, env_kwargs = PREPARED, {"env_id": env_id, "env_kwargs": env_kwargs, **options}
    return Environment(env_id, env_kwargs, form.kind, form.bounds, limit, warnings)


def _running_statistics(env: "Env[Any, Any]") -> list[str]:
    """A warning if a wrapper normalizes with statistics of its own steps, which no log holds."""
    from gymnasium import Wrapper

    names = []
    while isinstance(env, Wrapper):
        names.append(type(env).__name__)
        env = env.env
    kept = ", ".join(name for name in names if name.startswith("Normalize"))
    lost = f"the log lacks the running statistics of {kept}, so evaluation starts them anew"
    return [f"{lost}; log what they normalize instead, or set `dataset.env_id: none`"] if kept else []


def _other_bounds(name: str, form: "ActionForm", log: LogForm) -> list[str]:
    """A warning if actions have other bounds than in the log; for choices, MisfitError if the log has more of them."""
    if log.bounds is None or form.bounds is None:
        return []
    low, high = log.bounds
    ranges = f"{_range(log.bounds)} in the log, {_range(form.bounds)} in {name}"
    if form.kind == DISCRETE and not form.bounds[0] <= low <= high <= form.bounds[1]:
        raise MisfitError(f"the choices of actions differ: {ranges}")
    if form.kind == DISCRETE or np.allclose(log.bounds, form.bounds, rtol=1e-4):
        return []
    return [f"the bounds of actions differ: {ranges}; if the log's actions are scaled, returns in {name} are wrong"]


def _flattens(name: str, parts: "list[ObsPart]", log: LogForm) -> bool:
    """Whether the observations fit only as one vector. Raises MisfitError if they do not fit at all."""
    shapes = {part.name: part.shape for part in parts}
    alone = len(parts) == 1 and not parts[0].path and len(log.shapes) == 1
    if log.shapes == shapes or (alone and list(log.shapes.values()) == list(shapes.values())):
        return False
    reason = f"the log has observations {_text(log.shapes)}, {name} has {_text(shapes)}"
    vectors = not any(part.is_image for part in parts)
    size = sum(part.shape[0] for part in parts) if vectors else None
    if list(log.shapes.values()) != [(size,)]:
        raise MisfitError(reason)
    features = [feature for part in parts for feature in part.features]
    (names,) = (log.obs_names.get(key, []) for key in log.shapes)
    if names != features and sorted(names) == sorted(features):
        order = f"order the observations of the log (`dataset.obs_columns`) as {', '.join(features)}"
        raise MisfitError(f"the log has its features in another order than {name}", order)
    return True


def _check_actions(name: str, form: "ActionForm", log: LogForm) -> None:
    if log.action_kind is not None and log.action_kind != form.kind:
        raise MisfitError(f"actions are {log.action_kind} in the log, {form.kind} in {name}")
    if log.action_size != form.size:
        numbers = f"the log has {log.action_size} numbers for an action, {name} takes {form.size}"
        raise MisfitError(f"{numbers} ({form.change})" if form.change else numbers)


def _renames(space: "Space[Any]", parts: "list[ObsPart]") -> bool:
    """Whether the prepared observations have other names or another nesting than those of ``space``."""
    from gymnasium.spaces import Box, Dict

    names = list(space.spaces) if isinstance(space, Dict) else [parts[0].name]
    return not isinstance(space, Box | Dict) or [part.name for part in parts] != names


def _is_boxes(space: "Space[Any]") -> bool:
    from gymnasium.spaces import Box

    from pipeline.envs.spaces import leaves

    return all(isinstance(leaf, Box) for leaf in leaves(space))


def _order(parts: "list[ObsPart]") -> str:
    features = [feature for part in parts for feature in part.features]
    order = f"{', '.join(features[:8])}{', ...' if len(features) > 8 else ''}"
    return f"its observations are one vector in the order {order}, which must be the log's"


def _text(shapes: Shapes) -> str:
    return ", ".join(f"{key} {list(shape)}" for key, shape in sorted(shapes.items()))


def _range(bounds: Bounds) -> str:
    low, high = (", ".join(f"{x:g}" for x in side[:6]) + (", ..." if len(side) > 6 else "") for side in bounds)
    return f"[{low}] to [{high}]"
