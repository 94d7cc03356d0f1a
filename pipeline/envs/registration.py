"""Environments by id. Gymnasium is imported only when an environment is made, because reading logs does not need it."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium

PACKAGE = "pipeline"
OURS = "pipeline.envs.wrappers"  # ids of this project's own environments import this module
PREPARED, REBUILT = f"{OURS}:Prepared-v0", f"{OURS}:Rebuilt-v0"
SIDES = range(32, 129)  # sides in pixels of the images that a prepared dataset may hold
CHANNELS = range(1, 17)  # channels of these images: grey, RGB, or stacked frames of either


def make(env_id: str, env_kwargs: Mapping[str, Any], max_steps: int | None = None) -> "gymnasium.Env[Any, Any]":
    """``gymnasium.make``, which first imports the module that the id names, and keeps MuJoCo from writing a log file.

    ``max_steps`` replaces the registered time limit. Inside this project's wrappers the task's own limit applies too,
    so there it can only shorten episodes. Raises the errors of Gymnasium and of the environment.
    """
    import gymnasium

    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    quiet_mujoco(str(gymnasium.spec(name).entry_point))
    limit = {} if max_steps is None else {"max_episode_steps": max_steps}
    return gymnasium.make(env_id, **{**env_kwargs, **limit})


def quiet_mujoco(entry_point: str) -> None:
    """Keep MuJoCo, if the environment of ``entry_point`` uses it, from writing warnings to MUJOCO_LOG.TXT."""
    if ("mujoco" in entry_point or "robotics" in entry_point) and importlib.util.find_spec("mujoco"):
        import mujoco

        mujoco.set_mju_user_warning(lambda message: None)


def check_installed(module: str) -> None:
    """Raises ValueError unless ``module`` belongs to this project or to an installed package: what a log names must not
    run code of the working folder, nor any of Python's own modules."""
    package = module.partition(".")[0]
    if package == PACKAGE:
        return
    module_spec = None if package in sys.stdlib_module_names else importlib.util.find_spec(package)
    if module_spec is None:
        raise ValueError(f"`{package}` is not installed")
    places = list(module_spec.submodule_search_locations or []) or [str(module_spec.origin)]
    if any(Path(place).resolve().parent == Path.cwd() for place in places):
        raise ValueError(f"`{package}` is a module of the working folder, which a log may not import")


def check_environment(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """:func:`check_installed` for the modules of an environment and of those that it wraps."""
    for name in chain(env_id, env_kwargs):
        check_installed(name.rpartition(":")[0] or "gymnasium")


def chain(env_id: str | None, env_kwargs: Mapping[str, Any]) -> list[str]:
    """Names of an environment and of those that it wraps, from the outside in. The last is the task, such as
    ``Pendulum-v1`` or ``gymnasium_robotics:AdroitHandDoor-v1``. No ``env_id`` gives an empty list."""
    names: list[str] = []
    while env_id is not None:
        names.append(env_id.removeprefix(f"{OURS}:"))
        if not env_id.startswith(f"{OURS}:"):
            break
        inner = json.loads(env_kwargs.get("spec") or "{}").get("id") if env_id == REBUILT else env_kwargs.get("env_id")
        env_id, env_kwargs = inner, env_kwargs.get("env_kwargs") or {}
    return names
