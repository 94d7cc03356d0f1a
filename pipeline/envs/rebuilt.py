"""An environment with its wrappers, made again from the JSON that Gymnasium writes for it.

A log may come from anywhere, so only code that :mod:`pipeline.envs.permission` allows is imported. What is called must
be an environment or a wrapper.
"""

import json
from dataclasses import fields
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from pipeline.envs.permission import check_entry_point

SHOW = ("RecordVideo", "HumanRendering")  # wrappers that write files or open windows, and change nothing


def parse_spec(text: str) -> EnvSpec:
    """The EnvSpec in ``text``, also as Gymnasium wrote it before 1.0, without wrappers that only show the environment.
    Raises ValueError if it is none."""
    try:
        content = json.loads(text)
        wrappers = content.get("additional_wrappers") or content.get("applied_wrappers") or []
        known = {field.name for field in fields(EnvSpec) if field.init} - {"additional_wrappers"}
        values = {key: value for key, value in content.items() if key in known}
        specs = [WrapperSpec(**wrapper) for wrapper in wrappers]
        spec = EnvSpec(**values)
        _check_types(spec, specs)
    except (ValueError, TypeError, AttributeError, RecursionError, gymnasium.error.Error) as error:
        raise ValueError(f"not the JSON of a Gymnasium EnvSpec ({' '.join(str(error).split())})") from None
    spec.additional_wrappers = tuple(s for s in specs if s.entry_point.rpartition(":")[2] not in SHOW)
    return spec


def _check_types(spec: EnvSpec, wrappers: list[WrapperSpec]) -> None:
    limit = spec.max_episode_steps
    if not all(isinstance(named, str) for named in (spec.entry_point, *(w.entry_point for w in wrappers))):
        raise TypeError("an entry point is no text")
    if not isinstance(spec.kwargs, dict):
        raise TypeError("its kwargs are no mapping")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise TypeError(f"max_episode_steps {limit} is no number of steps")


def rebuild(spec: EnvSpec, **kwargs: Any) -> "gymnasium.Env[Any, Any]":
    """The environment of ``spec`` with its wrappers. Raises ValueError for code that is not allowed, and the errors of
    the environment."""
    _check(spec.entry_point, gymnasium.Env, spec.id)
    for wrapper in spec.additional_wrappers:
        _check(wrapper.entry_point, gymnasium.Wrapper, None)
    return gymnasium.make(spec, **kwargs)


def _check(entry_point: Any, kind: type, env_id: str | None) -> None:
    """Raises ValueError unless ``entry_point`` is allowed and is a ``kind``, or is registered for ``env_id``."""
    if not isinstance(entry_point, str):
        raise ValueError(f"{env_id}: its EnvSpec names no entry point")
    check_entry_point(entry_point)
    creator: object = load_env_creator(entry_point)
    registered = gymnasium.registry.get(env_id) if env_id else None
    if registered is not None and registered.entry_point == entry_point:
        return
    if not (isinstance(creator, type) and issubclass(creator, kind)):
        raise ValueError(f"`{entry_point}` is no {kind.__module__.partition('.')[0]}.{kind.__name__}")
