"""Gymnasium environments whose ids import this file, so that ``env_id`` and ``env_kwargs`` describe them completely.

* ``pipeline.envs.wrappers:Pixels-v0`` renders a task as image observations.
* ``pipeline.envs.wrappers:Masked-v0`` hides some entries of a vector observation.
* ``pipeline.envs.wrappers:Prepared-v0`` gives observations and actions the form of prepared datasets
  (:mod:`pipeline.envs.prepared`).
* ``pipeline.envs.wrappers:Rebuilt-v0`` makes an environment and its wrappers from the JSON of an EnvSpec
  (:mod:`pipeline.envs.rebuilt`).
* ``pipeline.envs.wrappers:CartPoleSwingUp-v0`` is a task (:mod:`pipeline.envs.cartpole`), and so is
  ``pipeline.envs.wrappers:HeatedRoom-v0`` (:mod:`pipeline.envs.heated_room`).

The wrappers keep the task's time limit and give its own observation as ``info["state"]``.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from pipeline.envs import cartpole, heated_room
from pipeline.envs.cartpole import CartPoleSwingUp
from pipeline.envs.distractors import DISTRACTORS, Plain
from pipeline.envs.heated_room import HeatedRoom
from pipeline.envs.permission import check_entry_point
from pipeline.envs.prepared import Prepared
from pipeline.envs.rebuilt import parse_spec, rebuild
from pipeline.envs.registration import SIDES, make, quiet_mujoco

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # otherwise pygame prints a greeting
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # otherwise pygame warns of the missing screen
DRAWN = 128  # approximate side in pixels of the rendering before it is resized, for tasks that can be drawn at any size

Info = dict[str, Any]
Wrapper = gymnasium.Wrapper[Any, Any, Any, Any]


class Pixels(Wrapper):
    """A task observed through its own rendering.

    The observation is a dict with ``pixels``, uint8 "size size 3"; ``state: true`` adds the task's vector as
    ``state``. Raises ValueError for options out of range and for a task that cannot be rendered.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], size: int, state: bool, distractor: str | None) -> None:
        super().__init__(env)
        if size not in SIDES:
            raise ValueError(f"size {size} must lie between {SIDES[0]} and {SIDES[-1]}")
        if distractor is not None and distractor not in DISTRACTORS:
            raise ValueError(f"distractor `{distractor}` must be one of {', '.join(DISTRACTORS)}")
        if state and not _is_vector(env.observation_space):
            raise ValueError(f"state: true needs a task with a vector observation, not {env.observation_space}")
        self.size = size
        self.state = state
        self.distractor_class = DISTRACTORS[distractor] if distractor else Plain
        self.rng = np.random.default_rng()
        spaces = {"pixels": Box(0, 255, (size, size, 3), np.uint8)}
        self.observation_space = Dict(spaces | ({"state": env.observation_space} if state else {}))
        if hasattr(env.unwrapped, "screen_dim"):  # Pendulum's default of 500 pixels is ten times slower
            env.unwrapped.screen_dim = size * max(2, DRAWN // size)
        self._try_rendering()

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """As in Gymnasium; ``info["state"]`` is the task's own observation. A seed also seeds the distractor."""
        obs, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.rng = np.random.default_rng([seed, 1])  # independent of the task's random numbers
        self.distractor = self.distractor_class(self.size, self.rng)
        return self._observation(obs), {"state": obs, **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """As in Gymnasium; ``info["state"]`` is the task's own observation."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._observation(obs), reward, terminated, truncated, {"state": obs, **info}

    def _try_rendering(self) -> None:
        """Render once, so that missing libraries raise an error here and not during a run."""
        try:
            self.env.reset()
            self._render()
        except (ValueError, gymnasium.error.Error):
            raise
        except Exception as error:  # renderers raise errors without a common base class
            reason = " ".join(str(error).split())
            fix = "without a screen, MuJoCo needs MUJOCO_GL=egl or osmesa"
            raise ValueError(f"{self.env.unwrapped} cannot be drawn here: {reason}; {fix}") from None

    def _observation(self, obs: Any) -> dict[str, Any]:
        return {"pixels": self.distractor(self._render())} | ({"state": obs} if self.state else {})

    def _render(self) -> Any:
        with _cached_image_loading():
            frame = self.env.render()
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
            raise ValueError(f"{self.env.unwrapped} renders no rgb_array; choose another env_id")
        return frame


class Masked(Wrapper):
    """A task with a vector observation, of which only the entries ``keep`` are observed. Raises ValueError when
    ``keep`` lists no entry, one twice, or one that does not exist."""

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
        """As in Gymnasium; ``info["state"]`` is the whole observation."""
        obs, info = self.env.reset(seed=seed, options=options)
        return obs[self.keep], {"state": obs, **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """As in Gymnasium; ``info["state"]`` is the whole observation."""
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
    """Make the task ``env_id`` with ``env_kwargs`` and wrap it in :class:`Pixels`: images of ``size`` pixels a side,
    with the task's vector if ``state``, and a ``distractor`` (a key of
    :data:`~pipeline.envs.distractors.DISTRACTORS`)."""
    return Pixels(_task(env_id, env_kwargs, render_mode or "rgb_array"), size, state, distractor)


def masked(env_id: str, keep: list[int], env_kwargs: Info | None = None, render_mode: str | None = None) -> Masked:
    """Make the task ``env_id`` with ``env_kwargs`` and wrap it in :class:`Masked`; ``keep`` lists the entries of its
    observation that stay visible."""
    return Masked(_task(env_id, env_kwargs, render_mode), keep)


def prepared(
    env_id: str,
    env_kwargs: Info | None = None,
    flatten: bool = False,
    amounts: bool = False,
    keys: list[str] | None = None,
    render_mode: str | None = None,
) -> Prepared:
    """Make the task ``env_id`` with ``env_kwargs`` and wrap it in :class:`~pipeline.envs.prepared.Prepared`."""
    return Prepared(_task(env_id, env_kwargs, render_mode), flatten, amounts, keys)


def rebuilt(spec: str, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Make the environment that ``spec``, the JSON of a Gymnasium EnvSpec, describes, with its wrappers. Raises
    ValueError for code that is not allowed."""
    parsed = parse_spec(spec)
    check_entry_point(parsed.entry_point)
    quiet_mujoco(str(parsed.entry_point))
    return rebuild(parsed, **({} if render_mode is None else {"render_mode": render_mode}))


def _task(env_id: str, env_kwargs: Info | None, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    defaults = {} if render_mode is None else {"render_mode": render_mode}
    return make(env_id, {**defaults, **(env_kwargs or {})})


def _is_vector(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, Box) and len(space.shape) == 1


@contextlib.contextmanager
def _cached_image_loading() -> Iterator[None]:
    """Cache ``pygame.image.load``: Pendulum reads its arrow from disk for every frame, four fifths of the time."""
    pygame = sys.modules.get("pygame")  # None before the first frame, because tasks import it when they draw
    if pygame is None:
        yield
        return
    original = pygame.image.load
    pygame.image.load = _cached(original)
    try:
        yield
    finally:
        pygame.image.load = original


@functools.cache
def _cached(load: Callable[..., Any]) -> Callable[..., Any]:
    return functools.cache(load)


gymnasium.register("Pixels-v0", entry_point=f"{__name__}:pixels")
gymnasium.register("Masked-v0", entry_point=f"{__name__}:masked")
gymnasium.register("Prepared-v0", entry_point=f"{__name__}:prepared")
gymnasium.register("Rebuilt-v0", entry_point=f"{__name__}:rebuilt")
gymnasium.register(
    "CartPoleSwingUp-v0", entry_point=f"{CartPoleSwingUp.__module__}:CartPoleSwingUp", max_episode_steps=cartpole.STEPS
)
gymnasium.register(
    "HeatedRoom-v0", entry_point=f"{HeatedRoom.__module__}:HeatedRoom", max_episode_steps=heated_room.STEPS
)
