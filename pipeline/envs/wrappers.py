"""Gymnasium environments by ids that import this file, so that ``env_id`` and ``env_kwargs`` alone describe them:

``pipeline.envs.wrappers:Pixels-v0`` shows a task as images; ``pipeline.envs.wrappers:Masked-v0`` hides some entries of
a vector observation. Both keep the task's time limit, and tell its own observation as ``info["state"]``.
``pipeline.envs.wrappers:CartPoleSwingUp-v0`` is a task of its own (``pipeline/envs/cartpole.py``).
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from pipeline.envs.cartpole import STEPS, CartPoleSwingUp
from pipeline.envs.distractors import DISTRACTORS, Plain
from pipeline.envs.registration import SIDES, make

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # else pygame greets on standard output
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # else pygame complains of the missing screen
DRAWN = 128  # about the side of the drawing that is shrunk, where a task can be drawn to any scale

Info = dict[str, Any]


class Pixels(gymnasium.Wrapper):  # type: ignore[type-arg]
    """A task seen by its own rendering: a dict with ``pixels`` uint8 [size, size, 3], each the mean color of the area
    it covers, and with ``state`` the task's vector too. Raises ValueError for a task that cannot be shown."""

    def __init__(self, env: gymnasium.Env[Any, Any], size: int, state: bool, distractor: str | None) -> None:
        super().__init__(env)
        if size not in SIDES:
            raise ValueError(f"size {size} must lie between {SIDES[0]} and {SIDES[-1]}")
        if distractor is not None and distractor not in DISTRACTORS:
            raise ValueError(f"distractor `{distractor}` is unknown (known: {', '.join(DISTRACTORS)})")
        if state and not _is_vector(env.observation_space):
            raise ValueError(f"state: true needs a task with a vector observation, not {env.observation_space}")
        self.size, self.state, self.view = size, state, DISTRACTORS[distractor] if distractor else Plain
        self.rng = np.random.default_rng()
        spaces = {"pixels": Box(0, 255, (size, size, 3), np.uint8)}
        self.observation_space = Dict(spaces | ({"state": env.observation_space} if state else {}))
        if hasattr(env.unwrapped, "screen_dim"):  # Pendulum's own 500 takes ten times as long
            env.unwrapped.screen_dim = size * max(2, DRAWN // size)
        self._try_rendering()

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.rng = np.random.default_rng([seed, 1])  # not the stream that the task draws from
        self.shown = self.view(self.size, self.rng)
        return self._seen(obs), {"state": obs, **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(obs), reward, terminated, truncated, {"state": obs, **info}

    def _try_rendering(self) -> None:
        """What is missing shows here, not in the middle of a run."""
        try:
            self.env.reset()
            self._render()
        except (ValueError, gymnasium.error.Error):
            raise
        except Exception as error:  # renderers share no base class
            reason, fix = " ".join(str(error).split()), "without a screen, MuJoCo needs MUJOCO_GL=egl or osmesa"
            raise ValueError(f"{self.env.unwrapped} cannot be drawn here: {reason}; {fix}") from None

    def _seen(self, obs: Any) -> dict[str, Any]:
        return {"pixels": self.shown(self._render())} | ({"state": obs} if self.state else {})

    def _render(self) -> Any:
        with _images_read_once():
            frame = self.env.render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
            raise ValueError(f"{self.env.unwrapped} renders no rgb_array; choose another env_id")
        return frame


class Masked(gymnasium.Wrapper):  # type: ignore[type-arg]
    """A task of which only the entries ``keep`` of its vector observation are seen. Raises ValueError for entries that
    it does not have."""

    def __init__(self, env: gymnasium.Env[Any, Any], keep: list[int]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not _is_vector(space):
            raise ValueError(f"Masked needs a task with a vector observation, not {space}")
        assert isinstance(space, Box)
        if not keep or len(set(keep)) < len(keep) or not set(keep) <= set(range(space.shape[0])):
            raise ValueError(f"keep {list(keep)} must list some of the entries 0 to {space.shape[0] - 1}, each once")
        self.keep = np.array(keep)
        self.observation_space = Box(space.low[self.keep], space.high[self.keep], dtype=space.dtype.type)

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        obs, info = self.env.reset(seed=seed, options=options)
        return obs[self.keep], {"state": obs, **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs[self.keep], reward, terminated, truncated, {"state": obs, **info}


def pixels(
    env_id: str,
    env_kwargs: Info | None = None,
    size: int = 64,
    state: bool = False,
    distractor: str | None = None,
    render_mode: str | None = None,
) -> Pixels:
    """``env_id`` and ``env_kwargs`` are the task's; the rest is explained at :class:`Pixels` and in ``distractors``."""
    return Pixels(_task(env_id, env_kwargs, render_mode or "rgb_array"), size, state, distractor)


def masked(env_id: str, keep: list[int], env_kwargs: Info | None = None, render_mode: str | None = None) -> Masked:
    """``env_id`` and ``env_kwargs`` are the task's, ``keep`` the entries of its observation that are seen."""
    return Masked(_task(env_id, env_kwargs, render_mode), keep)


def _task(env_id: str, env_kwargs: Info | None, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    shown = {} if render_mode is None else {"render_mode": render_mode}
    return make(env_id, {**shown, **(env_kwargs or {})})


def _is_vector(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, Box) and len(space.shape) == 1


@contextlib.contextmanager
def _images_read_once() -> Iterator[None]:
    """Pendulum decodes its arrow from disk for every frame, which takes four fifths of the drawing time."""
    pygame = sys.modules.get("pygame")  # None before the first frame of a task that draws with it
    if pygame is None:
        yield
        return
    original, pygame.image.load = pygame.image.load, _remembering(pygame.image.load)
    try:
        yield
    finally:
        pygame.image.load = original


@functools.cache
def _remembering(load: Any) -> Any:
    return functools.cache(load)


gymnasium.register("Pixels-v0", entry_point=f"{__name__}:pixels")
gymnasium.register("Masked-v0", entry_point=f"{__name__}:masked")
gymnasium.register(
    "CartPoleSwingUp-v0", entry_point=f"{CartPoleSwingUp.__module__}:CartPoleSwingUp", max_episode_steps=STEPS
)
