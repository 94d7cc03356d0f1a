"""Columns of flat logs that stay on disk until rows of them are asked for."""

from collections.abc import Callable

import numpy as np

BLOCK = 1 << 25  # bytes of a column held in memory at a time
ReadRows = Callable[[int, int], np.ndarray]


def is_wide(shape: tuple[int, ...]) -> bool:
    """Whether a column of "N ..." holds more than one number a row: the others are held in memory whole."""
    return int(np.prod(shape[1:])) > 1


class StoredRows:
    """Slices of rows "N ..." as they are asked for: ``read(start, stop)`` is called for blocks of bounded size, and no
    row is read twice as long as starts do not fall."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: ReadRows) -> None:  # type: ignore[type-arg]
        self.shape, self.dtype, self.ndim, self.read = shape, dtype, len(shape), read
        self.ahead = max(1, BLOCK // (dtype.itemsize * max(1, int(np.prod(shape[1:])))))
        self.start, self.block = 0, np.zeros((0, *shape[1:]), dtype)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        stop = max(start, stop)
        if start < self.start or stop > self.start + len(self.block):
            self._move(start, min(max(stop, start + self.ahead), len(self)))
        return self.block[start - self.start : stop - self.start]

    def _move(self, start: int, stop: int) -> None:
        kept = self.block[start - self.start :] if start >= self.start else self.block[:0]
        self.block = np.concatenate([kept, self.read(start + len(kept), stop)])
        self.start = start
