"""Consecutive episodes side by side: a log of short episodes is validated and stored at the speed of whole arrays."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np

from pipeline.data.episode import Episode
from pipeline.ingest.validate import arrays_of, check_episode

BYTES = 1 << 20  # of the rows in a block, which stay in the processor's cache; a longer episode is a block of its own


@dataclass(frozen=True)
class Block:
    """Episodes with T + 1 rows each in every array, as in the stored files. In arrays of steps, such as actions, the
    last row of an episode repeats its last step.

    Of ``episodes`` only flags and lengths are used: a source may have reused their arrays for the next episode.
    """

    index: int  # number of the first episode
    episodes: list[Episode]
    arrays: dict[str, np.ndarray]  # by the names of :func:`pipeline.ingest.validate.arrays_of`, each "R ..."
    offsets: np.ndarray  # int64 "E+1", the first row of each episode and R

    @classmethod
    def of(cls, index: int, episode: Episode) -> Self:
        """A block of one episode."""
        steps = len(episode.action)
        arrays = {k: a if len(a) > steps else np.concatenate([a, a[-1:]]) for k, a in arrays_of(episode).items()}
        return cls(index, [episode], arrays, np.array([0, steps + 1]))

    def stored(self) -> "Block":
        """All arrays as float32, except images, which stay uint8."""
        with np.errstate(over="ignore"):
            arrays = {k: v if v.ndim == 4 else v.astype(np.float32, copy=False) for k, v in self.arrays.items()}
        return replace(self, arrays={name: np.ascontiguousarray(array) for name, array in arrays.items()})

    def whole(self) -> Episode:
        """All rows as if they were of one episode, to check the values of all at once."""
        return self._episode(self.episodes[0], 0, int(self.offsets[-1]) + 1)

    def split(self) -> Iterator[Episode]:
        """The episodes."""
        for episode, (start, stop) in zip(self.episodes, pairwise(self.offsets.tolist()), strict=True):
            yield self._episode(episode, start, stop)

    def _episode(self, like: Episode, start: int, stop: int) -> Episode:
        cost = self.arrays.get("cost")
        return replace(
            like,
            obs={key: self.arrays[f"obs {key}"][start:stop] for key in like.obs},
            action=self.arrays["action"][start : stop - 1],
            reward=self.arrays["reward"][start : stop - 1],
            cost=None if cost is None else cost[start : stop - 1],
        )


def blocks(place: str, episodes: Iterable[Episode], first: Episode) -> Iterator[Block]:
    """All episodes in blocks; the next block overwrites the rows of the last one.

    Raises ValueError for wrong shapes and types, as :func:`pipeline.ingest.validate.check_episode`. The episodes before
    an error come first, because they may hold an earlier one.
    """
    buffer = Buffer(0, first)
    try:
        for index, episode in enumerate(episodes):
            if buffer.takes(episode):
                buffer.add(episode)
                continue
            check_episode(place, index, episode, first)
            yield from buffer.pop()
            if not buffer.takes(episode):
                buffer = Buffer(index, episode)
            if buffer.takes(episode):
                buffer.add(episode)
            else:
                yield Block.of(index, episode)
                buffer.index = index + 1
    except Exception:
        yield from buffer.pop()
        raise
    yield from buffer.pop()


class Buffer:
    """Space for about :data:`BYTES` of episodes with keys, types and shapes of ``like``, from episode ``index`` on."""

    def __init__(self, index: int, like: Episode) -> None:
        self.index = index
        like_arrays = arrays_of(like)
        self.rows = BYTES // max(sum(a.itemsize * int(np.prod(a.shape[1:])) for a in like_arrays.values()), 1)
        self.arrays = {name: np.empty((self.rows, *a.shape[1:]), a.dtype) for name, a in like_arrays.items()}
        self.layout = [(name, a.dtype, a.shape[1:], int(name.startswith("obs "))) for name, a in like_arrays.items()]
        self.episodes: list[Episode] = []
        self.ends = [0]

    def takes(self, episode: Episode) -> bool:
        """Whether there is space for the episode, and it has the layout of this buffer. Such an episode is valid."""
        steps = len(episode.action)
        if not 0 < steps < self.rows - self.ends[-1]:
            return False
        shapes = {name: (a.dtype, a.shape) for name, a in arrays_of(episode).items()}
        return shapes == {name: (dtype, (steps + more, *shape)) for name, dtype, shape, more in self.layout}

    def add(self, episode: Episode) -> None:
        """Copy the rows of the episode."""
        start = self.ends[-1]
        last = start + len(episode.action)
        for name, array in arrays_of(episode).items():
            rows = self.arrays[name]
            rows[start : start + len(array)] = array
            if start + len(array) == last:
                rows[last] = array[-1]
        self.episodes.append(episode)
        self.ends.append(last + 1)

    def pop(self) -> Iterator[Block]:
        """The block of the episodes added so far, if there are any; the buffer is empty afterwards."""
        if self.episodes:
            arrays = {name: rows[: self.ends[-1]] for name, rows in self.arrays.items()}
            yield Block(self.index, self.episodes, arrays, np.array(self.ends))
        self.index, self.episodes, self.ends = self.index + len(self.episodes), [], [0]
