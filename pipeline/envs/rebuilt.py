"""An environment with its wrappers, made again from the JSON that Gymnasium writes for it.

A log may come from anywhere, so only code that is installed is imported: Gymnasium, this project and other packages,
never modules of the working folder or of Python itself. What is called must be an environment or a wrapper.
"""

import json
from dataclasses import fields
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from pipeline.envs.registration import PACKAGE, check_environment, check_installed


def parse_spec(text: str) -> EnvSpec:
    """The EnvSpec in ``text``, also as Gymnasium wrote it before 1.0. Raises ValueError if it is none."""
    try:
        content = json.loads(text)
        wrappers = content.get("additional_wrappers") or content.get("applied_wrappers") or []
        known = {field.name for field in fields(EnvSpec) if field.init} - {"additional_wrappers"}
        values = {key: value for key, value in content.items() if key in known}
        return EnvSpec(**values, additional_wrappers=tuple(WrapperSpec(**wrapper) for wrapper in wrappers))
    except (ValueError, TypeError, AttributeError, gymnasium.error.Error) as error:
        raise ValueError(f"not the JSON of a Gymnasium EnvSpec ({' '.join(str(error).split())})") from None


def rebuild(spec: EnvSpec, **kwargs: Any) -> "gymnasium.Env[Any, Any]":
    """The environment of ``spec`` with its wrappers. Raises ValueError for code that is not installed, and the errors
    of the environment."""
    _check(spec.entry_point, gymnasium.Env, spec.id)
    if str(spec.entry_point).startswith(f"{PACKAGE}.") and "env_id" in spec.kwargs:
        check_environment(spec.kwargs["env_id"], spec.kwargs.get("env_kwargs") or {})
    for wrapper in spec.additional_wrappers:
        _check(wrapper.entry_point, gymnasium.Wrapper, None)
    return gymnasium.make(spec, **kwargs)


def _check(entry_point: Any, kind: type, env_id: str | None) -> None:
    """Raises ValueError unless ``entry_point`` is installed and is a ``kind``, or is registered for ``env_id``."""
    if not isinstance(entry_point, str):
        raise ValueError(f"{env_id}: its EnvSpec names no entry point")
    check_installed(entry_point.partition(":")[0])
    creator: object = load_env_creator(entry_point)
    registered = gymnasium.registry.get(env_id) if env_id else None
    if registered is not None and registered.entry_point == entry_point:
        return
    if not (isinstance(creator, type) and issubclass(creator, kind)):
        raise ValueError(f"`{entry_point}` is no {kind.__module__.partition('.')[0]}.{kind.__name__}")
