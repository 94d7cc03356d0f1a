"""The deterministic path of a latent state: what it remembers. "B C" is carried from step to step, "B F" is shown to
the heads that predict."""

from typing import Any

import torch
from torch import Tensor, nn


class GRURecurrence(nn.Module):
    """A gated recurrent unit; what it carries is what it shows."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU())
        self.cell = nn.GRUCell(hidden, width)
        self.carry_dim = self.features_dim = width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        """Carry "B C" and input "B I" -> the next carry "B C"."""
        return self.cell(self.enter(x), carry)

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        """What the heads see of the new carry, "... F"."""
        return carry


class LSTMRecurrence(nn.Module):
    """Long short-term memory; it carries output and cell, and shows the output."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU())
        self.cell = nn.LSTMCell(hidden, width)
        self.carry_dim, self.features_dim = 2 * width, width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        output, cell = carry.chunk(2, dim=-1)
        return torch.cat(self.cell(self.enter(x), (output, cell)), dim=-1)

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        return carry.chunk(2, dim=-1)[0]


class NoRecurrence(nn.Module):
    """Nothing is carried: the heads see the last latent and action alone (the stochastic state-space model that Hafner
    et al. 2019, arXiv:1811.04551, compare with)."""

    def __init__(self, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, width), nn.SiLU())
        self.carry_dim, self.features_dim = 0, width

    def forward(self, carry: Tensor, x: Tensor) -> Tensor:
        return carry

    def features(self, carry: Tensor, x: Tensor) -> Tensor:
        return self.net(x)


RECURRENCES: dict[str, Any] = {"gru": GRURecurrence, "lstm": LSTMRecurrence, "none": NoRecurrence}
