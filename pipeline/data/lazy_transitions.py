"""Transitions whose states are whole frames: read where the log lies when they are asked for, because all of them as
floating-point numbers do not fit in memory."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import logged_steps, observations
from pipeline.protocols import StateEncoder
from pipeline.types import Transitions

IntArray = NDArray[np.int64]


class MappedTransitions:
    """The transitions of a split as ``filter`` sees them, whose state depends on the last ``frames`` observations."""

    def __init__(self, dataset: PreparedDataset, split: str, encoder: StateEncoder, frames: int) -> None:
        self.dataset, self.encoder, self.frames = dataset, encoder, frames
        self.rows = dataset.steps(split)
        self.first = dataset.offsets[np.searchsorted(dataset.offsets, self.rows, side="right") - 1]
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> Self:
        """Rows are read on the CPU and moved as they were logged; the filter works on ``device``."""
        self.device = device
        if isinstance(self.encoder, torch.nn.Module):
            self.encoder.to(device)
        return self

    @torch.no_grad()
    def __getitem__(self, index: Tensor) -> Transitions:
        picks, data = index.cpu().numpy(), self.dataset
        rows, first = self.rows[picks], self.first[picks]
        state = self.encoder.initial(len(rows))
        for back in reversed(range(self.frames)):
            state = self._observe(state, np.maximum(rows - back, first), first)
        return logged_steps(data, rows, state, self._observe(state, rows + 1, first))

    def _observe(self, state: Tensor, rows: IntArray, first: IntArray) -> Tensor:
        before = torch.from_numpy(self.dataset.action[np.maximum(rows - 1, first)]).to(self.device)
        starts = torch.from_numpy(rows == first).to(state)
        return self.encoder.observe(state, before, observations(self.dataset, rows, self.device), starts)
