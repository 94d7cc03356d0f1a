"""Rows of a table in memory."""

import dataclasses
import functools
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one episode; empty cells are NaN. None stands for a column that the log does not have."""

    row: np.ndarray  # "N", index in the file
    obs: np.ndarray  # "N O"
    action: np.ndarray  # "N A"
    reward: np.ndarray  # "N"
    terminal: np.ndarray  # "N"
    timeout: np.ndarray  # "N"
    time: np.ndarray | None = None  # "N"
    next_obs: np.ndarray | None = None  # "N O"; NaN for exogenous columns
    cost: np.ndarray | None = None  # "N C"
    group: np.ndarray | None = None  # "N", text
    measured: np.ndarray | None = None  # bool "N W", for the columns that are watched

    def __getitem__(self, chosen: slice | np.ndarray) -> "Rows":
        arrays: dict[str, Any] = {name: None if (a := vars(self)[name]) is None else a[chosen] for name in NAMES}
        return Rows(**arrays)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def size(self) -> int:
        """Bytes of all columns."""
        return sum(array.nbytes for array in vars(self).values() if array is not None)

    @functools.cached_property
    def without_action(self) -> np.ndarray:
        """Whether each row holds an observation alone, bool "N"."""
        return np.asarray(np.isnan(self.action).all(axis=1))


NAMES = tuple(entry.name for entry in dataclasses.fields(Rows))


def repeats(rows: Rows) -> np.ndarray:
    """Whether each row but the last is the same as the next one in every column, bool "N-1"."""
    same = np.ones(len(rows) - 1, bool)
    for name in NAMES:
        array = vars(rows)[name]
        if array is not None and name != "row":
            before, after = array[:-1], array[1:]
            equal = (before == after) | ((before != before) & (after != after))  # NaN equals NaN
            same &= equal if equal.ndim == 1 else equal.all(axis=1)
    return same


def concatenate(parts: list[Rows]) -> Rows:
    """One run of rows from consecutive parts of it."""
    if len(parts) == 1:
        return parts[0]
    names = [name for name in NAMES if vars(parts[0])[name] is not None]
    arrays: dict[str, Any] = {name: np.concatenate([vars(part)[name] for part in parts]) for name in names}
    return Rows(**arrays)


def shifted(rows: Rows, action_offset: int, reward_offset: int) -> Rows:
    """The rows with the actions, rewards and costs of the rows that many below; the last ones have none.

    An offset of 1 is for a row that holds an observation and the action (or reward) that led to it.
    """
    if not action_offset and not reward_offset:
        return rows
    action, reward = _shifted(rows.action, action_offset), _shifted(rows.reward, reward_offset)
    if reward_offset:  # a step without its reward is none
        action = np.concatenate([action[:-reward_offset], np.full_like(action[-reward_offset:], np.nan)])
    cost = None if rows.cost is None else _shifted(rows.cost, reward_offset)
    return dataclasses.replace(rows, action=action, reward=reward, cost=cost)


def _shifted(array: np.ndarray, offset: int) -> np.ndarray:
    return np.concatenate([array[offset:], np.full_like(array[:offset], np.nan)]) if offset else array
