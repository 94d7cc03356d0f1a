"""Transitions that are read from disk batch by batch: those of images, and those of logs larger than memory."""

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
    """The transitions of a split between states of ``encoder``, which depend on the last ``frames`` observations."""

    def __init__(self, dataset: PreparedDataset, split: str, encoder: StateEncoder, frames: int) -> None:
        self.dataset = dataset
        self.encoder = encoder
        self.frames = frames
        self.starts = dataset.starts(split, 1)
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.starts)

    def to(self, device: torch.device) -> Self:
        """Encode on ``device`` from now on; observations are moved there as they are read."""
        self.device = device
        if isinstance(self.encoder, torch.nn.Module):
            self.encoder.to(device)
        return self

    @torch.no_grad()
    def __getitem__(self, index: Tensor) -> Transitions:
        """Transitions of the steps ``index`` "B" of the split, or of any other shape."""
        rows = self.starts[index.cpu().numpy().reshape(-1)]
        offsets = self.dataset.offsets
        first = offsets[np.searchsorted(offsets, rows, side="right") - 1]
        state = self.encoder.initial(len(rows))
        for back in reversed(range(self.frames)):
            state = self._observe(state, np.maximum(rows - back, first), first)
        steps = logged_steps(self.dataset, rows, state, self._observe(state, rows + 1, first))
        return steps if index.ndim == 1 else steps.map(lambda x: x.unflatten(0, index.shape))

    def _observe(self, state: Tensor, rows: IntArray, first: IntArray) -> Tensor:
        action = state.new_zeros(len(rows), self.dataset.spec.action_dim)
        if self.encoder.stateful:
            action = torch.from_numpy(self.dataset.action[np.maximum(rows - 1, first)]).to(self.device)
        starts = torch.from_numpy(rows == first).to(state)
        return self.encoder.observe(state, action, observations(self.dataset, rows, self.device), starts)
