"""Cart-pole swing-up with a continuous force, by its equations: what the logs of preset ``cartpole-swingup`` came from.

Constants, rules and limits were found from those logs, and replay them to the last digits
(``tests/envs/test_cartpole.py``).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

GRAVITY, CART, POLE, HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s^2, kg, kg, m
FORCE, STEP = 10.0, 0.02  # N at action 1, s
TRACK, STEPS = 10.0, 1000  # m to either side, steps of an episode
STARTS = 0.05  # each entry of the first state is uniform within it, in its own unit

Array = NDArray[np.float64]


def step(state: ArrayLike, action: ArrayLike) -> Array:
    """The next state "B 4" of ``state`` "B 4": position in m, angle in [-pi, pi) from hanging, m/s, rad/s; after one
    explicit Euler step under ``action`` "B 1" in [-1, 1] (Barto, Sutton and Anderson 1983, without friction)."""
    x, angle, speed, spin = np.moveaxis(np.asarray(state, np.float64), -1, 0)
    force = FORCE * np.clip(np.asarray(action, np.float64)[..., 0], -1, 1)
    sin, cos, mass = np.sin(angle + np.pi), np.cos(angle + np.pi), CART + POLE  # the equations count from upright
    push = (force + POLE * HALF_LENGTH * spin**2 * sin) / mass
    turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))
    slide = push - POLE * HALF_LENGTH * turn * cos / mass
    after = [x + STEP * speed, wrapped(angle + STEP * spin), speed + STEP * slide, spin + STEP * turn]
    return np.stack(after, axis=-1)


def wrapped(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def reward(after: ArrayLike) -> Array:
    """ "B", of the next state "B 4": 0 where the pole hangs, 1 where it stands."""
    return (1 - np.cos(np.asarray(after, np.float64)[..., 1])) / 2


def terminal(after: ArrayLike) -> NDArray[np.bool_]:
    """ "B", of the next state "B 4": the cart has left the track."""
    return np.abs(np.asarray(after)[..., 0]) > TRACK


class CartPoleSwingUp(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The pole hangs at first; the time limit stands at its registration."""

    metadata = {"render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self) -> None:
        high = np.array([np.inf, np.pi, np.inf, np.inf], np.float32)
        self.observation_space, self.action_space = Box(-high, high), Box(-1.0, 1.0, (1,))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-STARTS, STARTS, 4)
        return self.state.astype(np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.state = step(self.state, action)
        return self.state.astype(np.float32), float(reward(self.state)), bool(terminal(self.state)), False, {}
