"""Output distributions over real numbers: how a head's outputs become a mean and a loss.

Every distribution takes ``size`` outputs for each number; ``decode`` gives its mean and ``loss`` compares it with a
target. Both are in the unit of the targets.
"""

from collections.abc import Callable
from typing import Annotated, Protocol

import torch
from torch import Tensor, nn


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + abs(x)), elementwise: the identity near zero, logarithmic for large numbers (DreamerV3, Hafner et
    al. 2023, arXiv:2301.04104)."""
    sign = _sign(x)
    return sign * torch.log1p(sign * x)


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(abs(x)) - 1), elementwise: the inverse of :func:`symlog`."""
    sign = _sign(x)
    return sign * torch.expm1(sign * x)


def _sign(x: Tensor) -> Tensor:
    # 1 at zero: torch.sign gives 0 there, which would block the gradient of a head that starts at zero.
    return torch.copysign(x.new_ones(()), x.detach())


class Head(Protocol):
    """A distribution of one real number, given by ``size`` outputs "K" of a network."""

    size: int

    def decode(self, logits: Annotated[Tensor, "... K"]) -> Annotated[Tensor, "..."]:
        """The mean."""

    def loss(self, logits: Annotated[Tensor, "... K"], target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "..."]:
        """Negative log-likelihood of ``target`` up to a constant; no gradient reaches ``target``."""


class TwoHot(nn.Module):
    """A categorical over ``bins`` values, spaced evenly in symlog space from ``-symexp(limit)`` to ``symexp(limit)``
    (DreamerV3, Hafner et al. 2023, arXiv:2301.04104).

    A target is split between its two neighboring bins by linear interpolation of the values, not of their symlogs, and
    the prediction is the mean of the values. A head trained on noisy targets by cross-entropy therefore predicts their
    mean; interpolation in symlog space would be biased towards zero. Targets beyond the outermost bins are clamped.
    """

    def __init__(self, bins: int = 255, limit: float = 20.0) -> None:
        """Raises ValueError when ``bins`` is even or below 3, or ``limit`` is not positive."""
        super().__init__()
        if bins < 3 or bins % 2 == 0 or limit <= 0:
            raise ValueError(f"bins {bins} must be odd and at least 3, and limit {limit} positive")
        self.size = bins
        positive = symexp(torch.linspace(0, limit, bins // 2 + 1, dtype=torch.float64))[1:].float()
        values = torch.cat([-positive.flip(0), torch.zeros(1), positive])
        self.register_buffer("values", values, persistent=False)  # a constant, not a weight
        self.values: Annotated[Tensor, "K"]

    def encode(self, target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "... K"]:
        """Probabilities with mean ``target``; only its two neighboring bins are above zero."""
        bins, weights = self._neighbors(target)
        zeros = torch.zeros(*target.shape, self.size, device=target.device, dtype=target.dtype)
        return zeros.scatter(-1, bins, weights)

    def _neighbors(self, target: Annotated[Tensor, "..."]) -> tuple[Annotated[Tensor, "... 2"], ...]:
        """The two bins around ``target``, and their probabilities."""
        target = target.clamp(self.values[0], self.values[-1])
        upper = torch.searchsorted(self.values, target.contiguous()).clamp(min=1)
        bins = torch.stack([upper - 1, upper], dim=-1)
        low, high = self.values[bins].unbind(-1)
        weight = (target - low) / (high - low)
        return bins, torch.stack([1 - weight, weight], dim=-1)

    def decode(self, logits: Annotated[Tensor, "... K"]) -> Annotated[Tensor, "..."]:
        """The mean."""
        half = self.size // 2
        below, _, above = logits.softmax(-1).split([half, 1, half], dim=-1)
        # Opposite bins first: their large values then cancel exactly, so equal logits decode to exactly zero. A matrix
        # product would round to bfloat16 under reduced precision.
        return ((above - below.flip(-1)) * self.values[half + 1 :]).sum(-1)

    def loss(self, logits: Annotated[Tensor, "... K"], target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "..."]:
        """Cross-entropy against the two-hot target, in nats; no gradient reaches ``target``."""
        bins, weights = self._neighbors(target.detach())
        return -(weights * logits.log_softmax(-1).gather(-1, bins)).sum(-1)


class UnitGaussian(nn.Module):
    """A normal with standard deviation 1 in the target's unit: its loss is half the squared error."""

    size = 1

    def decode(self, logits: Annotated[Tensor, "... 1"]) -> Annotated[Tensor, "..."]:
        """The mean."""
        return logits.squeeze(-1)

    def loss(self, logits: Annotated[Tensor, "... 1"], target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "..."]:
        """Negative log-likelihood up to a constant; no gradient reaches ``target``."""
        return 0.5 * (self.decode(logits) - target.detach()).square()


HEADS: dict[str, Callable[[], Head]] = {"two_hot": TwoHot, "unit_gaussian": UnitGaussian}


def zero_last_layer(net: nn.Sequential) -> nn.Sequential:
    """Set the last linear layer of ``net`` to zero in place, so that a head's initial prediction is zero everywhere."""
    last = net[-1]
    assert isinstance(last, nn.Linear), "the last layer of a head is linear"
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return net
