"""Environments by id. Gymnasium is imported only when an environment is made, because reading logs does not need it."""

import importlib
import importlib.util
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.envs.permission import check_entry_point, check_module, check_place

if TYPE_CHECKING:
    import gymnasium

OURS = "pipeline.envs.wrappers"  # ids of this project's own environments import this module
PREPARED, REBUILT = f"{OURS}:Prepared-v0", f"{OURS}:Rebuilt-v0"
SIDES = range(32, 129)  # sides in pixels of the images that a prepared dataset may hold
CHANNELS = range(1, 17)  # channels of these images: grey, RGB, or stacked frames of either


def make(env_id: str, env_kwargs: Mapping[str, Any], max_steps: int | None = None) -> "gymnasium.Env[Any, Any]":
    """``gymnasium.make``, which first imports the module that the id names, and keeps MuJoCo from writing a log file.

    ``max_steps`` replaces the registered time limit. Inside this project's wrappers the task's own limit applies too,
    so there it can only shorten episodes. Raises ForbiddenError for code that is not allowed
    (:mod:`pipeline.envs.permission`), and the errors of Gymnasium and of the environment.
    """
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if module:
        check_module(module)
        importlib.import_module(module)
    entry_point = gymnasium.spec(name).entry_point
    check_entry_point(entry_point)
    quiet_mujoco(str(entry_point))
    limit = {} if max_steps is None else {"max_episode_steps": max_steps}
    return gymnasium.make(env_id, **{**env_kwargs, **limit})


def quiet_mujoco(entry_point: str) -> None:
    """Keep MuJoCo, if the environment of ``entry_point`` uses it, from writing warnings to MUJOCO_LOG.TXT. Raises
    ForbiddenError if MuJoCo lies in the working folder."""
    if ("mujoco" in entry_point or "robotics" in entry_point) and importlib.util.find_spec("mujoco"):
        check_place("mujoco")
        import mujoco

        mujoco.set_mju_user_warning(lambda message: None)


def chain(env_id: str | None, env_kwargs: Mapping[str, Any]) -> list[str]:
    """Names of an environment and of those that it wraps, from the outside in. The last is the task, such as
    ``Pendulum-v1`` or ``gymnasium_robotics:AdroitHandDoor-v1``. No ``env_id`` gives an empty list."""
    names: list[str] = []
    inner: object = env_id
    while isinstance(inner, str):  # a log may hold anything here
        names.append(inner.removeprefix(f"{OURS}:"))
        if not inner.startswith(f"{OURS}:"):
            break
        inner = _id_in(env_kwargs.get("spec")) if inner == REBUILT else env_kwargs.get("env_id")
        within = env_kwargs.get("env_kwargs")
        env_kwargs = within if isinstance(within, Mapping) else {}
    return names


def _id_in(spec: object) -> object:
    """The id in the JSON of an EnvSpec; None if it is none."""
    try:
        content: object = json.loads(spec) if isinstance(spec, str) else None
    except (ValueError, RecursionError):
        return None
    return content.get("id") if isinstance(content, Mapping) else None
