"""Conversion of actions between the environment's own units and the form that models and learners use: numbers in
[-1, 1], or one-hot vectors where actions are discrete."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from gymnasium.spaces import Space

CONTINUOUS, DISCRETE = KINDS = ("continuous", "discrete")
Array = NDArray[np.float64]


class ActionSpec(Protocol):
    """The description of actions that the spec of a dataset and a policy bundle share."""

    @property
    def action_kind(self) -> str:
        """``CONTINUOUS`` or ``DISCRETE``."""

    @property
    def action_low(self) -> list[float]:
        """Lower bounds "A" in the environment's own units; zeros for discrete actions, whose form is one-hot."""

    @property
    def action_high(self) -> list[float]:
        """Upper bounds "A" in the environment's own units; ones for discrete actions."""

    @property
    def action_start(self) -> int:
        """The environment's number for the first discrete action."""


class BoxActions:
    """Continuous actions: vectors "... A" within bounds."""

    kind = CONTINUOUS

    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        self.low, self.high = np.array(low), np.array(high)
        self.size = len(self.low)

    def denormalize(self, action: NDArray[Any]) -> Array:
        """From [-1, 1] to the environment's own units, "... A"."""
        return self.low + (action.astype(np.float64) + 1) / 2 * (self.high - self.low)

    def normalize(self, env_action: NDArray[Any]) -> Array:
        """From the environment's own units to [-1, 1], "... A"."""
        return 2 * (np.asarray(env_action, np.float64) - self.low) / (self.high - self.low) - 1

    def uniform(self, rng: np.random.Generator, count: int) -> Array:
        """``count`` uniformly random actions "B A", in the environment's own units."""
        return rng.uniform(self.low, self.high, (count, self.size))

    def space(self) -> "Space[Any]":
        """The Gymnasium space of these actions."""
        from gymnasium.spaces import Box

        return Box(self.low.astype(np.float32), self.high.astype(np.float32), dtype=np.float32)


class DiscreteActions:
    """Discrete actions: integers "..." from ``start`` in the environment, one-hot vectors "... A" in models."""

    kind = DISCRETE

    def __init__(self, size: int, start: int = 0) -> None:
        self.size = size
        self.start = start

    def denormalize(self, action: NDArray[Any]) -> NDArray[np.int64]:
        """From one-hot vectors "... A" to integers "..."; of other vectors, the largest entry counts."""
        return np.asarray(action.argmax(-1) + self.start, np.int64)

    def normalize(self, env_action: NDArray[Any]) -> Array:
        """From integers "..." to one-hot vectors "... A". Raises IndexError for an integer beyond the last action."""
        return np.eye(self.size)[np.asarray(env_action).astype(np.int64) - self.start]

    def uniform(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """``count`` uniformly random integers "B"."""
        return rng.integers(self.start, self.start + self.size, count)

    def space(self) -> "Space[Any]":
        """The Gymnasium space of these actions."""
        from gymnasium.spaces import Discrete

        return Discrete(self.size, start=self.start)


Actions = BoxActions | DiscreteActions


def actions_of(spec: ActionSpec) -> Actions:
    """The converter for the actions that ``spec`` describes."""
    if spec.action_kind == DISCRETE:
        return DiscreteActions(len(spec.action_low), spec.action_start)
    return BoxActions(spec.action_low, spec.action_high)
