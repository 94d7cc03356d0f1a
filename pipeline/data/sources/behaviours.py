"""Scripted behaviour policies: what collected logs are made of. Each maps (obs, action bounds, rng) to an action."""

from collections.abc import Callable

import numpy as np

Behaviour = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def random_action(obs: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(low, high)


def swing_up(obs: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pendulum: pump energy until the top can be reached, then hold it by a PD law (Astrom and Furuta, 2000)."""
    return np.clip(_pendulum_torque(obs), low, high)


def weak_swing_up(obs: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same law with 30 % of the torque: it builds up swings and rarely holds the top."""
    return 0.3 * np.clip(_pendulum_torque(obs), low, high)


def _pendulum_torque(obs: np.ndarray) -> np.ndarray:
    """Torque in N m from (cos, sin, angular velocity) of a rod of 1 kg and 1 m in g = 10 m/s^2."""
    cos, sin, speed = (float(x) for x in obs)
    if cos > 0.9 and abs(speed) < 3:
        return np.array([-(12 * np.arctan2(sin, cos) + 3 * speed)])
    excess = speed**2 / 6 + 5 * (cos - 1)  # energy above that of rest at the top
    return np.array([-2.0 * np.copysign(1, speed) * np.sign(excess)])


BEHAVIOURS: dict[str, Behaviour] = {"random": random_action, "swing_up": swing_up, "weak_swing_up": weak_swing_up}
PENDULUM_ONLY = ("swing_up", "weak_swing_up")
