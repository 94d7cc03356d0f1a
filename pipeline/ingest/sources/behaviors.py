"""Scripted behavior policies for collected logs. Each maps (obs, action space, rng) to an action in its units."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.envs.action_space import Actions, BoxActions

Behavior = Callable[[np.ndarray, Actions, np.random.Generator], Any]


def random_action(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """Any task: uniform within the bounds."""
    return actions.uniform(rng, 1)[0]


def swing_up(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """Pendulum: pump energy up to the top, then hold it there with a PD controller (Astrom and Furuta, 2000)."""
    assert isinstance(actions, BoxActions)
    return np.clip(_pendulum_torque(obs), actions.low, actions.high)


def weak_swing_up(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """Pendulum: :func:`swing_up` with 30 % of the torque; it swings higher and higher but rarely holds the top."""
    return 0.3 * swing_up(obs, actions, rng)


def _pendulum_torque(obs: np.ndarray) -> np.ndarray:
    """Torque in N m from (cos, sin, angular velocity) of a rod of 1 kg and 1 m in g = 10 m/s^2."""
    cos, sin, speed = (float(x) for x in obs)
    if cos > 0.9 and abs(speed) < 3:
        return np.array([-(12 * np.arctan2(sin, cos) + 3 * speed)])
    excess = speed**2 / 6 + 5 * (cos - 1)  # energy in J, minus that at rest at the top
    return np.array([-2.0 * np.copysign(1, speed) * np.sign(excess)])


def balance(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """CartPole: a linear controller that pushes in the direction in which the pole falls and the cart drifts."""
    x, speed, angle, spin = (float(value) for value in obs)
    return int(0.05 * x + 0.2 * speed + angle + 0.3 * spin > 0)


def lean(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """CartPole: push in the direction in which the pole leans, whatever its velocity; the swings grow."""
    return int(obs[2] > 0)


def thermostat(obs: np.ndarray, actions: Actions, rng: np.random.Generator) -> Any:
    """HeatedRoom: power in proportion to what the air lacks to the setpoint, with half a degree in reserve. It knows
    neither weather nor price."""
    assert isinstance(actions, BoxActions)
    air, setpoint = float(obs[0]), float(obs[2 + 2 * ((len(obs) - 2) // 4)])
    return np.clip(np.array([3.0 * (setpoint + 0.5 - air)]), actions.low, actions.high)


BEHAVIORS: dict[str, Behavior] = {
    "random": random_action,
    "swing_up": swing_up,
    "weak_swing_up": weak_swing_up,
    "balance": balance,
    "lean": lean,
    "thermostat": thermostat,
}
# The task of each behavior; those not listed work in every task.
TASKS = {
    "swing_up": "Pendulum",
    "weak_swing_up": "Pendulum",
    "balance": "CartPole",
    "lean": "CartPole",
    "thermostat": "HeatedRoom",
}
