"""What the last layer of a head means: a distribution over the number line, its mean and its loss.

Every head has ``size`` outputs for each number, ``decode`` to its mean and ``loss`` against a target. The unit is the
caller's: whatever the targets are in.
"""

from typing import Annotated, Any

import torch
from torch import Tensor, nn


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + abs(x)): near zero the identity, far out a logarithm (DreamerV3, Hafner et al. 2023,
    arXiv:2301.04104). Any shape."""
    sign = _sign(x)
    return sign * torch.log1p(sign * x)


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(abs(x)) - 1), the inverse of :func:`symlog`. Any shape."""
    sign = _sign(x)
    return sign * torch.expm1(sign * x)


def _sign(x: Tensor) -> Tensor:
    # 1 at zero too: torch.sign is 0 there and would stop the gradient of a head that starts at zero.
    return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


class TwoHot(nn.Module):
    """A categorical over ``bins`` values spaced evenly in symlog space up to ``symexp(limit)`` on both sides.

    A target is split between its two neighboring bins by linear interpolation of the values themselves, not of their
    symlogs, and the prediction is the mean of the values: so a head that learns from noisy targets by cross-entropy
    predicts their mean, where interpolation in symlog space would predict something nearer to zero (DreamerV3, Hafner
    et al. 2023, arXiv:2301.04104). Targets beyond the outermost bins count as those.
    """

    def __init__(self, bins: int = 255, limit: float = 20.0) -> None:
        super().__init__()
        if bins < 3 or bins % 2 == 0 or limit <= 0:
            raise ValueError(f"bins {bins} must be odd and at least 3, and limit {limit} positive")
        self.size = bins
        positive = symexp(torch.linspace(0, limit, bins // 2 + 1, dtype=torch.float64))[1:].float()
        values = torch.cat([-positive.flip(0), torch.zeros(1), positive])
        self.register_buffer("values", values, persistent=False)  # a constant, not a weight
        self.values: Annotated[Tensor, "K"]

    def encode(self, target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "... K"]:
        """Probabilities, at most two of them above zero, whose mean is ``target``."""
        target = target.clamp(self.values[0], self.values[-1])
        above = torch.searchsorted(self.values, target.contiguous()).clamp(min=1)
        low, high = self.values[above - 1], self.values[above]
        share = ((target - low) / (high - low))[..., None]
        empty = torch.zeros(*target.shape, self.size, device=target.device, dtype=target.dtype)
        return empty.scatter(-1, above[..., None], share).scatter(-1, above[..., None] - 1, 1 - share)

    def decode(self, logits: Annotated[Tensor, "... K"]) -> Annotated[Tensor, "..."]:
        """The mean."""
        weighted = logits.softmax(-1) * self.values
        half = self.size // 2
        # Opposite bins first: their huge values then cancel to the last digit, so equal logits mean exactly zero.
        return (weighted[..., :half] + weighted[..., half + 1 :].flip(-1)).sum(-1)

    def loss(self, logits: Annotated[Tensor, "... K"], target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "..."]:
        """Cross-entropy from the two-hot target; no gradient reaches ``target``."""
        return -(self.encode(target.detach()) * logits.log_softmax(-1)).sum(-1)


class UnitGaussian(nn.Module):
    """A normal of standard deviation 1 in the target's unit, so its loss is half the squared error."""

    size = 1

    def decode(self, logits: Annotated[Tensor, "... 1"]) -> Annotated[Tensor, "..."]:
        """The mean."""
        return logits.squeeze(-1)

    def loss(self, logits: Annotated[Tensor, "... 1"], target: Annotated[Tensor, "..."]) -> Annotated[Tensor, "..."]:
        """Negative log-likelihood up to a constant; no gradient reaches ``target``."""
        return 0.5 * (self.decode(logits) - target.detach()).square()


HEADS: dict[str, Any] = {"two_hot": TwoHot, "unit_gaussian": UnitGaussian}


def zero_last_layer(net: nn.Sequential) -> nn.Sequential:
    """``net`` with its last linear layer set to zero, so that a head's first prediction is exactly zero everywhere."""
    last = net[-1]
    assert isinstance(last, nn.Linear), "the last layer of a head is linear"
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return net
