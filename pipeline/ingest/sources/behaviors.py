"""Scripted behavior policies: what collected logs are made of. Each maps (obs, action space, rng) to an action."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.envs.action_space import Actions, BoxActions

Behavior = Callable[[np.ndarray, Actions, np.random.Generator], Any]


def random_action(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    return actions.uniform(rng, 1)[0]


def swing_up(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """Pendulum: pump energy until the top can be reached, then hold it by a PD law (Astrom and Furuta, 2000)."""
    assert isinstance(actions, BoxActions)
    return np.clip(_pendulum_torque(obs), actions.low, actions.high)


def weak_swing_up(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """The same law with 30 % of the torque: it builds up swings and rarely holds the top."""
    return 0.3 * swing_up(obs, actions, rng)


def _pendulum_torque(obs: np.ndarray) -> np.ndarray:
    """Torque in N m from (cos, sin, angular velocity) of a rod of 1 kg and 1 m in g = 10 m/s^2."""
    cos, sin, speed = (float(x) for x in obs)
    if cos > 0.9 and abs(speed) < 3:
        return np.array([-(12 * np.arctan2(sin, cos) + 3 * speed)])
    excess = speed**2 / 6 + 5 * (cos - 1)  # energy above that of rest at the top
    return np.array([-2.0 * np.copysign(1, speed) * np.sign(excess)])


def balance(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """CartPole: push to where the pole falls and the cart drifts, by a linear law."""
    x, speed, angle, spin = (float(value) for value in obs)
    return int(0.05 * x + 0.2 * speed + angle + 0.3 * spin > 0)


def lean(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """CartPole: push to where the pole leans, however it moves; it swings ever wider."""
    return int(obs[2] > 0)


BEHAVIORS: dict[str, Behavior] = {
    "random": random_action,
    "swing_up": swing_up,
    "weak_swing_up": weak_swing_up,
    "balance": balance,
    "lean": lean,
}
# The task that each was written for; the rest are for all.
TASKS = {"swing_up": "Pendulum", "weak_swing_up": "Pendulum", "balance": "CartPole", "lean": "CartPole"}
