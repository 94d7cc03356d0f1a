"""Environments with spaces of every kind, whose steps are known."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

STEPS = 6


class Valves(gymnasium.Env[Any, Any]):
    """Two valves with 3 and 4 positions fill a tank; the reward is 10 times the first position plus the second.

    The mode is the number of steps modulo 3, counted from 1; an alarm is on where its valve is fully open.
    """

    observation_space = Dict(
        {
            "level": Box(-10, 10, (2,), np.float32),
            "mode": Discrete(3, start=1),
            "alarms": MultiBinary(2),
            "past": Tuple((MultiDiscrete([3, 4]), Box(0, 99, (), np.float32))),
        }
    )

    def __init__(self, binary: bool = False) -> None:
        self.binary = binary
        self.action_space = MultiBinary(2) if binary else MultiDiscrete([3, 4])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start with a level drawn from the seed."""
        super().reset(seed=seed)
        self.level, self.count = self.np_random.random(2).astype(np.float32), 0
        self.valves = np.zeros(2, np.int64)
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Set the valves."""
        assert self.action_space.contains(action)
        self.valves, self.count = np.asarray(action, np.int64), self.count + 1
        self.level = self.level + np.array([0.1, 0.01], np.float32) * self.valves.astype(np.float32)
        return self._obs(), float(10 * self.valves[0] + self.valves[1]), False, False, {}

    def _obs(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "mode": np.int64(1 + self.count % 3),
            "alarms": (self.valves == [2, 3]).astype(np.int8),
            "past": (self.valves, np.float32(self.count)),
        }


class Stack(gymnasium.Env[Any, Any]):
    """Two grey frames, channels first: the newer one is all 10 times the number of steps; the reward is the action."""

    observation_space = Box(0, 255, (2, 32, 32), np.uint8)
    action_space = Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start with black frames."""
        self.count = 0
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Count."""
        self.count += 1
        return self._obs(), float(action[0]), False, False, {}

    def _obs(self) -> np.ndarray:
        frames = np.zeros((2, 32, 32), np.uint8)
        frames[0], frames[1] = 10 * max(self.count - 1, 0), 10 * self.count
        return frames


gymnasium.register("Valves-v0", entry_point="valves:Valves", max_episode_steps=STEPS)
gymnasium.register("Stack-v0", entry_point="valves:Stack", max_episode_steps=STEPS)
