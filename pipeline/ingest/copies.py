"""Which episodes are exact copies of each other."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BYTES = 1 << 24  # of rows in memory at a time

IntArray = NDArray[np.int64]


def marks_of(arrays: Sequence[np.ndarray], offsets: IntArray) -> NDArray[np.uint64]:
    """A number for each episode "E" from its length and its first, middle and last row; copies have equal numbers.

    ``arrays`` "R ..." hold all rows of the episodes, which begin at ``offsets`` "E+1".
    """
    first, last = offsets[:-1], offsets[1:] - 1
    marks = (last - first).astype(np.uint64)
    draws = np.random.default_rng(0)
    for array in arrays:
        at_once = max(1, BYTES // max(array[:1].nbytes, 1))
        for rows in (first, (first + last) // 2, last):
            words = max(1, -(-array[:1].nbytes // 4))
            factors = draws.integers(1 << 63, size=words, dtype=np.uint64) * 2 + 1
            for start in range(0, len(rows), at_once):
                part = slice(start, start + at_once)
                marks[part] = marks[part] * np.uint64(0x9E3779B97F4A7C15) + (_words(array[rows[part]]) * factors).sum(1)
    return marks


def copies_of(marks: NDArray[np.uint64], digest: Callable[[int], bytes]) -> IntArray:
    """A number for each episode "E", the same for exact copies, counted from 0 in the order of the first of them.

    ``digest`` hashes all of an episode. It is called only for those whose ``marks`` are equal.
    """
    _, mark, count = np.unique(marks, return_inverse=True, return_counts=True)
    number = mark.astype(np.int64)
    number_of: dict[tuple[int, bytes], int] = {}
    for episode in np.flatnonzero(count[mark] > 1).tolist():
        number[episode] = len(count) + number_of.setdefault((int(mark[episode]), digest(episode)), len(number_of))
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def digest_in(arrays: Sequence[np.ndarray], offsets: IntArray) -> Callable[[int], bytes]:
    """The hash of all rows of an episode in ``arrays``."""

    def digest(episode: int) -> bytes:
        hashed = hashlib.blake2b(digest_size=16)
        for array in arrays:
            hashed.update(np.ascontiguousarray(array[offsets[episode] : offsets[episode + 1]]).data)
        return hashed.digest()

    return digest


def in_order(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays in the order of their names."""
    return [array for _, array in sorted(arrays.items())]


def _words(rows: np.ndarray) -> NDArray[np.uint64]:
    """The bytes of each row as numbers below 2^32, "n W"."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))) if flat.shape[1] % 4 else flat
    return padded.view(np.uint32).astype(np.uint64)
