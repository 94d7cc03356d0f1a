"""Environments by the ids that describe them. Gymnasium is imported when one is made: reading logs needs none."""

import importlib
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

OURS = "pipeline.envs.wrappers"  # the module that ids of this project's own environments import
SIDES = range(32, 129)  # pixels a side of the images that the prepared dataset holds


def make(env_id: str, env_kwargs: Mapping[str, Any], max_steps: int | None = None) -> "gymnasium.Env[Any, Any]":
    """``gymnasium.make``, importing the module that an id names, without the log file that MuJoCo would leave.
    ``max_steps`` takes the place of the registered time limit; within Pixels and Masked the task's own holds too, so it
    only shortens. Raises what Gymnasium and the environment raise."""
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    entry_point = str(gymnasium.spec(name).entry_point)
    if ("mujoco" in entry_point or "robotics" in entry_point) and importlib.util.find_spec("mujoco"):
        import mujoco

        mujoco.set_mju_user_warning(lambda message: None)  # HalfCheetah's would drop a MUJOCO_LOG.TXT
    return gymnasium.make(env_id, max_episode_steps=max_steps, **env_kwargs)


def chain(env_id: str | None, env_kwargs: Mapping[str, Any]) -> list[str]:
    """Names of an environment and of those it wraps; the last is the task, such as ``Pendulum-v1``
    or ``gymnasium_robotics:AdroitHandDoor-v1``."""
    names: list[str] = []
    while env_id is not None:
        names.append(env_id.removeprefix(f"{OURS}:"))
        wraps = env_id.startswith(f"{OURS}:")
        env_id, env_kwargs = (env_kwargs.get("env_id"), env_kwargs.get("env_kwargs") or {}) if wraps else (None, {})
    return names
