"""A heated room under weather, a comfort schedule and a price of energy that nobody controls.

Air and wall are two heat stores (a 2R2C network, Bacher and Madsen 2011, Energy and Buildings 43(7)). Each exogenous
observation may hold a forecast beside the present value.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Space
from numpy.typing import NDArray

STEP = 0.25  # h
STEPS = 96  # time limit of an episode: one day from midnight
POWER = 6.0  # kW, of the heater
AIR, WALL = 1.0, 8.0  # kWh/K, heat capacities
AIR_TO_WALL, AIR_TO_OUTDOOR, WALL_TO_OUTDOOR = 1.0, 8.0, 20.0  # K/kW, resistances
WINDOW = 3.0  # m^2, through which the sun heats: half of it the air, half of it the wall
DAY, NIGHT = 21.0, 17.0  # degrees C, the lowest comfortable temperature
TOLERANCE = 3.0  # K above that temperature that are still comfortable
DISCOMFORT = 0.5  # cost of one hour at 1 K outside comfort; it grows with the square
CHEAP, PEAK = 0.2, 0.6  # cost of 1 kWh
WEATHERS = {"winter": (-6.0, 6.0, 0.4), "spring": (8.0, 15.0, 0.9)}  # range of the day's mean in degrees C; sun, kW/m^2
EXOGENOUS = ("outdoor", "sun", "setpoint", "price")

Array = NDArray[np.float64]
Observation = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Day:
    """Exogenous values at every step of a day, "T" each, and beyond it."""

    outdoor: Array  # degrees C
    sun: Array  # kW/m^2
    setpoint: Array  # degrees C
    price: Array  # per kWh

    @classmethod
    def draw(cls, weather: str, steps: int, rng: np.random.Generator) -> "Day":
        """A random day: its temperature, clouds, and the hours of comfort and of the price's peaks."""
        low, high, brightest = WEATHERS[weather]
        hour = STEP * np.arange(steps)
        swing = rng.uniform(2, 6) * np.cos(2 * np.pi * (hour - 15) / 24)
        outdoor = rng.uniform(low, high) + swing + _wander(steps, 0.97, 0.3, rng)
        clear = np.clip(rng.uniform(0.2, 0.9) + _wander(steps, 0.9, 0.1, rng), 0.05, 1)
        sun = brightest * clear * np.clip(np.sin(np.pi * (hour % 24 - 7) / 10), 0, None)
        wake, sleep, morning, evening = rng.uniform((5, 20, 6, 16), (8, 23, 8, 18))
        at_home = (hour % 24 >= wake) & (hour % 24 < sleep)
        peak = sum((hour % 24 >= start) & (hour % 24 < start + 3) for start in (morning, evening))
        return cls(outdoor, sun, np.where(at_home, DAY, NIGHT), np.where(peak, PEAK, CHEAP))


def _wander(steps: int, memory: float, noise: float, rng: np.random.Generator) -> Array:
    """A first-order autoregressive process "T" that starts at 0."""
    values = np.zeros(steps)
    for t in range(1, steps):
        values[t] = memory * values[t - 1] + noise * rng.normal()
    return values


def step(air: float, wall: float, outdoor: float, sun: float, power: float) -> tuple[float, float]:
    """Temperatures of air and wall one explicit Euler step later, in degrees C; ``power`` in kW."""
    flow = (wall - air) / AIR_TO_WALL
    gain = WINDOW * sun / 2
    air_change = (flow + (outdoor - air) / AIR_TO_OUTDOOR + power + gain) / AIR
    wall_change = (-flow + (outdoor - wall) / WALL_TO_OUTDOOR + gain) / WALL
    return air + STEP * air_change, wall + STEP * wall_change


def reward(air: float, setpoint: float, price: float, power: float) -> float:
    """Minus the cost of the energy of one step and of discomfort at its end."""
    outside = max(setpoint - air, air - setpoint - TOLERANCE, 0.0)
    return -STEP * (price * power + DISCOMFORT * outside**2)


class HeatedRoom(gymnasium.Env[Any, NDArray[np.float32]]):
    """The task as a Gymnasium environment. The action "1" is the heater's power in kW.

    Observations are ``air`` and ``wall``, "1" each in degrees C, and ``outdoor``, ``sun``, ``setpoint`` and ``price``,
    "1 + forecast" each: the present value, then those of the next steps. ``info["state"]`` holds all of them side by
    side. Raises ValueError for an unknown ``weather``.
    """

    metadata = {"render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self, weather: str = "winter", forecast: int = 0) -> None:
        if weather not in WEATHERS:
            raise ValueError(f"weather `{weather}` must be one of {', '.join(WEATHERS)}")
        self.weather, self.forecast = weather, forecast
        sizes = {"air": 1, "wall": 1, **dict.fromkeys(EXOGENOUS, 1 + forecast)}
        boxes: dict[str, Space[Any]] = {n: Box(-np.inf, np.inf, (size,), np.float32) for n, size in sizes.items()}
        self.observation_space = Dict(boxes)
        self.action_space = Box(0.0, POWER, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Any]:
        """The first observation of a new day."""
        super().reset(seed=seed)
        self.day = Day.draw(self.weather, STEPS + 1 + self.forecast, self.np_random)
        self.air, self.wall = self.np_random.uniform(15, 21), self.np_random.uniform(13, 19)
        self.t = 0
        return self._observation()

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Observation, reward, termination and truncation (always False) and info after ``action`` "1"."""
        day, t, power = self.day, self.t, float(np.clip(action[0], 0, POWER))
        self.air, self.wall = step(self.air, self.wall, float(day.outdoor[t]), float(day.sun[t]), power)
        self.t = min(t + 1, STEPS)
        obs, info = self._observation()
        return obs, reward(self.air, float(day.setpoint[t]), float(day.price[t]), power), False, False, info

    def _observation(self) -> tuple[Observation, dict[str, Any]]:
        obs = {"air": np.array([self.air], np.float32), "wall": np.array([self.wall], np.float32)}
        ahead = slice(self.t, self.t + 1 + self.forecast)
        obs |= {name: getattr(self.day, name)[ahead].astype(np.float32) for name in EXOGENOUS}
        return obs, {"state": np.concatenate(list(obs.values()))}
