"""Cart-pole swing-up with a continuous force: the environment of the logs of preset ``cartpole-swingup``.

Constants, rules and limits were identified from those logs. The environment reproduces them to the last digits
(``tests/envs/test_cartpole.py``).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

GRAVITY = 9.8  # m/s^2
CART, POLE = 1.0, 0.1  # kg
HALF_LENGTH = 0.5  # m, of the pole
FORCE = 10.0  # N at action 1
STEP = 0.02  # s
TRACK = 10.0  # m to either side
STEPS = 1000  # time limit of an episode
STARTS = 0.05  # each entry of the first state is uniform in [-STARTS, STARTS], in its own unit

Array = NDArray[np.float64]


def step(state: ArrayLike, action: ArrayLike) -> Array:
    """One explicit Euler step from ``state`` "B 4" to the next state "B 4" under ``action`` "B 1" in [-1, 1], without
    friction (Barto, Sutton and Anderson 1983).

    A state is position in m, angle in [-pi, pi) from hanging, velocity in m/s and angular velocity in rad/s.
    """
    x, angle, velocity, spin = np.moveaxis(np.asarray(state, np.float64), -1, 0)
    force = FORCE * np.clip(np.asarray(action, np.float64)[..., 0], -1, 1)
    sin, cos = np.sin(angle + np.pi), np.cos(angle + np.pi)  # the equations measure the angle from upright
    mass = CART + POLE
    push = (force + POLE * HALF_LENGTH * spin**2 * sin) / mass
    angular_acceleration = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))
    acceleration = push - POLE * HALF_LENGTH * angular_acceleration * cos / mass
    next_state = [
        x + STEP * velocity,
        wrapped(angle + STEP * spin),
        velocity + STEP * acceleration,
        spin + STEP * angular_acceleration,
    ]
    return np.stack(next_state, axis=-1)


def wrapped(angle: Array) -> Array:
    """Angles "B" in rad, mapped to [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def reward(next_state: ArrayLike) -> Array:
    """Reward "B" of a step to ``next_state`` "B 4": 0 where the pole hangs, 1 where it is upright."""
    return (1 - np.cos(np.asarray(next_state, np.float64)[..., 1])) / 2


def terminal(next_state: ArrayLike) -> NDArray[np.bool_]:
    """Whether a step to ``next_state`` "B 4" ends the episode, "B": the cart has left the track."""
    return np.abs(np.asarray(next_state)[..., 0]) > TRACK


class CartPoleSwingUp(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """The task as a Gymnasium environment: the pole starts near hanging. The registration sets the time limit."""

    metadata = {"render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self) -> None:
        high = np.array([np.inf, np.pi, np.inf, np.inf], np.float32)
        self.observation_space = Box(-high, high)
        self.action_space = Box(-1.0, 1.0, (1,))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The first state "4" of a new episode and an empty info."""
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-STARTS, STARTS, 4)
        return self.state.astype(np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Next state "4", reward, termination, truncation (always False) and an empty info, after ``action`` "1"."""
        self.state = step(self.state, action)
        return self.state.astype(np.float32), float(reward(self.state)), bool(terminal(self.state)), False, {}
