"""Random windows of consecutive steps that cover all logged steps with equal probability."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.types import Segments


class Windows:
    """Windows of ``length`` steps within single episodes of a split.

    A window may start up to ``length - 1`` steps before an episode or end up to ``length - 1`` steps after it. The part
    outside the episode is cut off, and the window is padded at its end. Otherwise the first and last steps of an
    episode, among them terminals, would be sampled less often. Images stay memory-mapped until a window is read.
    """

    def __init__(self, dataset: PreparedDataset, split: str, length: int) -> None:
        assert length >= 1
        self.dataset = dataset
        self.length = length
        self.first = dataset.offsets[dataset.episodes(split)]
        self.lengths = dataset.episode_lengths(split)
        self.ends = np.cumsum(self.lengths + length - 1)
        self.steps = int(self.lengths.sum())

    def draw(self, count: int, generator: Generator) -> Tensor:
        """``count`` random windows as pairs (first row, number of steps), int64 "N 2"."""
        positions = torch.randint(int(self.ends[-1]), (count,), generator=generator).numpy()
        episode = np.searchsorted(self.ends, positions, side="right")
        length = self.lengths[episode]
        start = positions - self.ends[episode] + length  # from 1 - window length to episode length - 1
        begin, end = np.maximum(start, 0), np.minimum(start + self.length, length)
        return torch.from_numpy(np.stack([self.first[episode] + begin, end - begin], axis=1))

    def read(self, picks: Tensor) -> Segments:
        """The windows ``picks`` "N 2" of :meth:`draw`, on the CPU. Padding repeats the last observation."""
        begin, steps = picks.numpy().T
        frame = np.minimum(np.arange(self.length + 1), steps[:, None])
        rows = begin[:, None] + frame
        valid = torch.from_numpy(np.arange(self.length) < steps[:, None])
        step_rows = rows[:, :-1]
        data = self.dataset
        return Segments(
            action=_gather(data.action, step_rows),
            reward=_gather(data.reward, step_rows) * valid,
            terminal=_gather(data.terminal, step_rows).float() * valid,
            valid=valid.float(),
            obs={key: _gather(array, rows) for key, array in data.obs.items()},
        )


def _gather(array: NDArray[np.generic], rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(array[rows.reshape(-1)].reshape(*rows.shape, *array.shape[1:]))
