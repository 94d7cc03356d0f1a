"""Logged transitions that are read by index: from memory, or from the memory-mapped dataset of a large log."""

from typing import Protocol, Self

import torch
from torch import Tensor

from pipeline.data.dataset import IN_MEMORY, PreparedDataset
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.transitions import encode_transitions, gibibytes
from pipeline.encoders.history import HistoryEncoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.protocols import StateEncoder, WorldModel
from pipeline.types import Transitions

SAMPLE = 200_000  # transitions that stand for a log that is not in memory


class Rows(Protocol):
    """Transitions that are read by row numbers, from memory or from disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Transitions: ...

    def to(self, device: torch.device) -> Self:
        """Return rows on ``device`` from now on."""


def logged_rows(dataset: PreparedDataset, split: str, encoder: StateEncoder, limit: float = IN_MEMORY) -> Rows:
    """The transitions of a split between the states of ``encoder``: on disk if they take more than ``limit`` GiB.

    Rows, and so all that is learned from them, are the same in either case. A recurrent encoder needs whole episodes,
    so its states are always in memory.
    """
    encoder = encoder.actor_encoder() if isinstance(encoder, WorldModel) else encoder
    frames = _frames(encoder)
    if frames is None or gibibytes(dataset, split, encoder.state_dim) <= limit:
        return encode_transitions(dataset, split, encoder)
    return MappedTransitions(dataset, split, encoder, frames)


def in_memory(rows: Rows, most: int = SAMPLE) -> Transitions:
    """Transitions that are in memory as they are; of others, ``most`` evenly spaced ones."""
    if isinstance(rows, Transitions):
        return rows
    return rows[_spaced(len(rows), most)]


def logged_actions(dataset: PreparedDataset, split: str, most: int = SAMPLE) -> Tensor:
    """Logged actions "B A" of a split; of more than ``most``, evenly spaced ones."""
    starts = dataset.starts(split, 1)
    return torch.from_numpy(dataset.action[starts[_spaced(len(starts), most).numpy()]])


def first_rows(rows: Rows, most: int) -> Transitions:
    """The first transitions, at most ``most``."""
    return rows[torch.arange(min(len(rows), most))]


def _spaced(count: int, most: int) -> Tensor:
    """The numbers of ``count`` rows, int64; of more than ``most``, so many evenly spaced ones."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).long()


def _frames(encoder: StateEncoder) -> int | None:
    """How many observations a state depends on; None: on all since the start of the episode."""
    if isinstance(encoder, HistoryEncoder):
        return encoder.config.history + 1
    return 1 if isinstance(encoder, StandardEncoder) else None
