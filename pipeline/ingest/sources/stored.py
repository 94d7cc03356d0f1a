"""Columns of flat logs that stay on disk and are read row by row."""

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK = 1 << 23  # bytes of a column in memory at a time
ReadRows = Callable[[int, int], np.ndarray]


def is_wide(shape: tuple[int, ...]) -> bool:
    """Whether a column of shape "N ..." has several numbers per row. Narrow columns are loaded as a whole."""
    return int(np.prod(shape[1:])) > 1


class StoredRows:
    """An array "N ..." whose slices of rows are read from disk.

    ``read(start, stop)`` is called for blocks of limited size. If slices are requested in ascending order, no row is
    read twice.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], read: ReadRows) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.read = read
        self.block_rows = max(1, BLOCK // (dtype.itemsize * max(1, int(np.prod(shape[1:])))))
        self.block = np.zeros((0, *shape[1:]), dtype)
        self.start = 0  # row of the first in the block

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        stop = max(start, stop)
        if start < self.start or stop > self.start + len(self.block):
            self._move(start, min(max(stop, start + self.block_rows), len(self)))
        return self.block[start - self.start : stop - self.start]

    def _move(self, start: int, stop: int) -> None:
        kept = self.block[start - self.start :] if start >= self.start else self.block[:0]
        self.block = np.concatenate([kept, self.read(start + len(kept), stop)])
        self.start = start


Rows = np.ndarray | StoredRows


def first_rows(column: Rows, rows: int) -> Rows:
    """The first rows of a column."""
    if isinstance(column, np.ndarray):
        return column[:rows]
    return StoredRows((rows, *column.shape[1:]), column.dtype, column.read)


def joined_axes(column: Rows, width: int, first: int = 0) -> Rows:
    """Rows "A*width ..." of a column "A B ...": in each of the A parts, those from ``first`` on, ``width`` of them."""
    if isinstance(column, np.ndarray):
        return column[:, first : first + width].reshape(-1, *column.shape[2:])

    def read(start: int, stop: int) -> np.ndarray:
        begin = start // width
        parts = column[begin : -(-stop // width)][:, first : first + width]
        return parts.reshape(-1, *column.shape[2:])[start - begin * width : stop - begin * width]

    return StoredRows((len(column) * width, *column.shape[2:]), column.dtype, read)
