"""Recurrent cells: the deterministic part of a latent state.

The carry "B C" goes from step to step; the prior and posterior heads get features "B F" of it.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn


class Recurrence(Protocol):
    """A recurrent cell, as a torch module."""

    carry_dim: int  # C
    features_dim: int  # F

    def __call__(self, carry: Tensor, x: Tensor) -> Tensor:
        """Carry "B C" and input "B I" -> the next carry "B C"."""

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        """Features "B F" of the next carry "B C" and the input "B I" that led to it."""


class GRURecurrence(nn.Module):
    """A gated recurrent unit; the features are the carry."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU())
        self.cell = nn.GRUCell(hidden, width)
        self.carry_dim = self.features_dim = width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        """Carry "B C" and input "B I" -> the next carry "B C"."""
        return self.cell(self.enter(x), carry)

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        """The carry "B F" itself."""
        return carry


class LSTMRecurrence(nn.Module):
    """Long short-term memory: the carry is output and cell, the features are the output."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU())
        self.cell = nn.LSTMCell(hidden, width)
        self.carry_dim = 2 * width
        self.features_dim = width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        """Carry "B C" and input "B I" -> the next carry "B C"."""
        output, cell = carry.chunk(2, dim=-1)
        return torch.cat(self.cell(self.enter(x), (output, cell)), dim=-1)

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        """The output "B F" in the carry."""
        return carry.chunk(2, dim=-1)[0]


class NoRecurrence(nn.Module):
    """No carry: the features depend only on the last latent and action (the stochastic state-space model, SSM, in
    Hafner et al. 2019, arXiv:1811.04551)."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, width), nn.SiLU())
        self.carry_dim = 0
        self.features_dim = width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        """The empty carry "B 0"."""
        return carry

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        """Features "B F" of the input "B I"."""
        return self.net(x)


RECURRENCES: dict[str, Callable[[int, int, int], Recurrence]] = {
    "gru": GRURecurrence,
    "lstm": LSTMRecurrence,
    "none": NoRecurrence,
}
