"""The form that actions of any Gymnasium space have in prepared datasets, and the way back to the environment.

Actions are one vector of amounts, or one whole number that stands for a choice. MultiDiscrete, MultiBinary and nested
discrete actions become one choice among all combinations; the last number varies fastest.
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.envs.spaces import choices, leaves, nested, short, values_of

MOST_COMBINATIONS = 256  # of discrete actions that become one choice; an actor has one output for each
Array = NDArray[Any]
Bounds = tuple[list[float], list[float]]


class ActionForm(Protocol):
    """The prepared form of the actions of a space."""

    kind: str  # continuous or discrete
    space: "Space[Any]"  # of one prepared action: Box "A" or Discrete
    bounds: Bounds | None  # of prepared actions; None where a bound is infinite
    size: int  # numbers of an action: of a choice 1
    change: str | None  # what the form changes, for a warning

    def prepare(self, actions: Any) -> Array:
        """Actions of the space over time -> "T A", or choices "T 1". Raises ValueError for values outside."""

    def restore(self, action: Array) -> Any:
        """The action of the space that a prepared one, "A" or a whole number, stands for."""


class Amounts:
    """Actions as one vector. Whole numbers, if the space has some, are amounts: they are rounded on the way back."""

    kind = CONTINUOUS

    def __init__(self, space: "Space[Any]") -> None:
        self.original = space
        self.parts = leaves(space)
        ends = [_ends(part) for part in self.parts]
        self.low, self.high = (np.concatenate(side) for side in zip(*ends, strict=True))
        finite = np.isfinite([self.low, self.high]).all()
        self.bounds: Bounds | None = (self.low.tolist(), self.high.tolist()) if finite else None
        self.size = len(self.low)
        plain = isinstance(space, Box) and len(space.shape) == 1
        self.space: Space[Any] = space if plain else Box(self.low, self.high, dtype=np.float64)
        self.change = None if plain else f"actions {short(space)} become one vector of {self.size} numbers"

    def prepare(self, actions: Any) -> Array:
        """The numbers of each action side by side, "T A"."""
        arrays = values_of(self.original, actions)
        return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)

    def restore(self, action: Array) -> Any:
        """The numbers in the structure of the space, whole numbers within their range."""
        return nested(self.original, self._parts(np.asarray(action)))

    def _parts(self, action: Array) -> Iterator[Array]:
        place = 0
        for part in self.parts:
            shape = part.shape or ()
            size = math.prod(shape)
            values, dtype = action[place : place + size].reshape(shape), np.dtype(part.dtype)
            low, high = (side[place : place + size].reshape(shape) for side in (self.low, self.high))
            block = np.clip(np.rint(values), low, high) if dtype.kind in "iub" else values
            yield block.astype(dtype) if shape else block.astype(dtype)[()]
            place += size


class Choices:
    """Discrete actions as one choice among all combinations of their values."""

    kind = DISCRETE

    def __init__(self, space: "Space[Any]") -> None:
        self.original = space
        self.parts = leaves(space)
        counts, starts = zip(*map(choices, self.parts), strict=True)
        self.counts = [count for group in counts for count in group]
        self.starts = np.array([start for group in starts for start in group], np.int64)
        total = math.prod(self.counts)
        plain = isinstance(space, Discrete)
        if total > MOST_COMBINATIONS and not plain:
            fix = "set `dataset.action_kind: continuous` to read them as amounts, or log one Discrete action"
            combinations = f"{total} combinations, at most {MOST_COMBINATIONS} are read as one choice"
            raise ValueError(f"actions {short(space)} have {combinations}; {fix}")
        first = int(self.starts[0]) if plain else 0
        self.space: Space[Any] = Discrete(total, start=first)
        self.bounds: Bounds | None = ([float(first)], [float(first + total - 1)])
        self.size = 1
        self.first = first
        order = ", the last number varies fastest" if len(self.counts) > 1 else ""
        self.change = None if plain else f"actions {short(space)} become one choice of {total}{order}"

    def prepare(self, actions: Any) -> Array:
        """The number of each choice, "T 1"."""
        arrays = values_of(self.original, actions)
        columns = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1) - self.starts
        if ((columns < 0) | (columns >= self.counts)).any():
            raise ValueError(f"actions hold values outside {short(self.original)}")
        number = np.ravel_multi_index(tuple(columns.astype(np.int64).T), self.counts)
        return number[:, None] + self.first

    def restore(self, action: Array) -> Any:
        """The values of the choice in the structure of the space."""
        values = np.array(np.unravel_index(int(action) - self.first, self.counts)) + self.starts
        return nested(self.original, self._parts(values))

    def _parts(self, values: Array) -> Iterator[Any]:
        place = 0
        for part in self.parts:
            shape = part.shape or ()
            size = math.prod(shape)
            block = values[place : place + size].reshape(shape).astype(part.dtype)
            yield block if shape else block[()]
            place += size


def action_form(space: "Space[Any]", amounts: bool = False) -> ActionForm:
    """The form of the actions of ``space``; ``amounts`` reads discrete numbers as amounts. Raises ValueError for a
    space that has none."""
    parts = leaves(space)
    finite = [isinstance(part, Discrete | MultiDiscrete | MultiBinary) for part in parts]
    if not parts or not all(known or isinstance(part, Box) for known, part in zip(finite, parts, strict=True)):
        fix = "use Box, Discrete, MultiDiscrete or MultiBinary actions, or Dict and Tuple of them"
        raise ValueError(f"actions {short(space)} are not supported; {fix}")
    if amounts or not any(finite):
        return Amounts(space)
    if not all(finite):
        fix = "set `dataset.action_kind: continuous` to read the discrete ones as amounts"
        raise ValueError(f"actions {short(space)} mix amounts and choices; {fix}")
    return Choices(space)


def _ends(space: "Space[Any]") -> tuple[Array, Array]:
    """Lowest and highest number of each entry, flat."""
    if isinstance(space, Box):
        return space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    counts, starts = (np.array(values, np.float64) for values in choices(space))
    return starts, starts + counts - 1
