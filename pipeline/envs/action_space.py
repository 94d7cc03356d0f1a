"""Actions in the environment's own units, and as models and learners know them: numbers in [-1, 1], or one-hot vectors
where they are discrete."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gymnasium.spaces import Space

CONTINUOUS, DISCRETE = KINDS = ("continuous", "discrete")
Array = NDArray[np.float64]


class ActionSpec(Protocol):
    """What the spec of a dataset and a policy bundle say alike. ``action_start`` is the environment's number for the
    first of discrete actions, whose bounds are 0 and 1: those of their one-hot vectors."""

    @property
    def action_kind(self) -> str: ...
    @property
    def action_low(self) -> list[float]: ...
    @property
    def action_high(self) -> list[float]: ...
    @property
    def action_start(self) -> int: ...


class BoxActions:
    """Vectors "... A" within bounds."""

    kind = CONTINUOUS

    def __init__(self, low: Any, high: Any) -> None:
        self.low, self.high = np.array(low), np.array(high)
        self.size = len(self.low)

    def denormalize(self, action: NDArray[Any]) -> Array:
        """From [-1, 1] to the environment's own units."""
        return self.low + (action.astype(np.float64) + 1) / 2 * (self.high - self.low)

    def normalize(self, raw: NDArray[Any]) -> Array:
        """From the environment's own units to [-1, 1]."""
        return 2 * (np.asarray(raw, np.float64) - self.low) / (self.high - self.low) - 1

    def uniform(self, rng: np.random.Generator, count: int) -> Array:
        return rng.uniform(self.low, self.high, (count, self.size))

    def space(self) -> "Space[Any]":
        from gymnasium.spaces import Box

        return Box(self.low.astype(np.float32), self.high.astype(np.float32), dtype=np.float32)


class DiscreteActions:
    """Whole numbers "..." from ``start`` on, known as one-hot vectors "... A"."""

    kind = DISCRETE

    def __init__(self, size: int, start: int = 0) -> None:
        self.size, self.start = size, start

    def denormalize(self, action: NDArray[Any]) -> NDArray[np.int64]:
        return np.asarray(action.argmax(-1) + self.start, np.int64)

    def normalize(self, raw: NDArray[Any]) -> Array:
        return np.eye(self.size)[np.asarray(raw).astype(np.int64) - self.start]

    def uniform(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        return rng.integers(self.start, self.start + self.size, count)

    def space(self) -> "Space[Any]":
        from gymnasium.spaces import Discrete

        return Discrete(self.size, start=self.start)


Actions = BoxActions | DiscreteActions


def actions_of(facts: ActionSpec) -> Actions:
    if facts.action_kind == DISCRETE:
        return DiscreteActions(len(facts.action_low), facts.action_start)
    return BoxActions(facts.action_low, facts.action_high)
