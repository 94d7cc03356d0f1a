"""Windows of consecutive steps, drawn so that every logged step is equally likely to be in one."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.types import Segments


class Windows:
    """Windows of ``length`` steps within single episodes of a split.

    A window may begin up to ``length - 1`` steps before an episode or end as far beyond it; what lies outside is cut
    off, so such a window is shorter and padded. Thus the last steps of an episode, where it terminates, are seen as
    often as any other. Frames stay memory-mapped until a window is read.
    """

    def __init__(self, dataset: PreparedDataset, split: str, length: int) -> None:
        assert length >= 1
        chosen = dataset.episodes(split)
        self.dataset, self.length = dataset, length
        self.first, self.lengths = dataset.offsets[chosen], dataset.episode_lengths(split)
        self.ends = np.cumsum(self.lengths + length - 1)
        self.steps = int(self.lengths.sum())

    def draw(self, count: int, generator: Generator) -> Tensor:
        """``count`` windows as rows (first row, steps), int64 "N 2"."""
        picks = torch.randint(int(self.ends[-1]), (count,), generator=generator).numpy()
        episode = np.searchsorted(self.ends, picks, side="right")
        length = self.lengths[episode]
        start = picks - self.ends[episode] + length  # from 1 - window length to episode length - 1
        begin, end = np.maximum(start, 0), np.minimum(start + self.length, length)
        return torch.from_numpy(np.stack([self.first[episode] + begin, end - begin], axis=1))

    def read(self, picks: Tensor) -> Segments:
        """The windows themselves, on the CPU. Padding repeats the last row that was seen."""
        begin, steps = picks.numpy().T
        frame = np.minimum(np.arange(self.length + 1), steps[:, None])
        rows, valid = begin[:, None] + frame, np.arange(self.length) < steps[:, None]
        data, taken = self.dataset, rows[:, :-1]
        return Segments(
            action=_gather(data.action, taken),
            reward=_gather(data.reward, taken) * torch.from_numpy(valid),
            terminal=_gather(data.terminal, taken).float() * torch.from_numpy(valid),
            valid=torch.from_numpy(valid).float(),
            obs={key: _gather(array, rows) for key, array in data.obs.items()},
        )


def _gather(array: NDArray[np.generic], rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(array[rows.reshape(-1)].reshape(*rows.shape, *array.shape[1:]))
