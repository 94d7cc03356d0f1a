"""Environments by id. Gymnasium is imported only when an environment is made, because reading logs does not need it."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

OURS = "pipeline.envs.wrappers"  # ids of this project's own environments import this module
SIDES = range(32, 129)  # sides in pixels of the images that a prepared dataset may hold


def make(env_id: str, env_kwargs: Mapping[str, Any], max_steps: int | None = None) -> "gymnasium.Env[Any, Any]":
    """``gymnasium.make``, which first imports the module that the id names, and keeps MuJoCo from writing a log file.

    ``max_steps`` replaces the registered time limit. Inside Pixels and Masked the task's own limit applies too, so
    there it can only shorten episodes. Raises the errors of Gymnasium and of the environment.
    """
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    entry_point = str(gymnasium.spec(name).entry_point)
    if ("mujoco" in entry_point or "robotics" in entry_point) and importlib.util.find_spec("mujoco"):
        import mujoco

        mujoco.set_mju_user_warning(lambda message: None)  # HalfCheetah's warnings would write MUJOCO_LOG.TXT
    return gymnasium.make(env_id, max_episode_steps=max_steps, **env_kwargs)


def chain(env_id: str | None, env_kwargs: Mapping[str, Any]) -> list[str]:
    """Names of an environment and of those that it wraps, from the outside in. The last is the task, such as
    ``Pendulum-v1`` or ``gymnasium_robotics:AdroitHandDoor-v1``. No ``env_id`` gives an empty list."""
    names: list[str] = []
    while env_id is not None:
        names.append(env_id.removeprefix(f"{OURS}:"))
        if not env_id.startswith(f"{OURS}:"):
            break
        env_id, env_kwargs = env_kwargs.get("env_id"), env_kwargs.get("env_kwargs") or {}
    return names
