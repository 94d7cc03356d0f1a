"""Layers whose weights are random, and the network they make. Samples of the weights, once fixed, are its members.

A layer's weights have its biases as their last row, "I+1 O". In training every row of a batch sees noise of its own.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.types import Shard


def affine(x: Tensor, weight: Tensor) -> Tensor:
    """Inputs "M B I" through weights "M I+1 O" -> "M B O"."""
    return torch.baddbmm(weight[:, -1:], x, weight[:, :-1])


def first_weights(inputs: int, outputs: int) -> Tensor:
    """Where training starts, "1 I+1 O": as PETS' ensembles do, with biases of zero."""
    weight = torch.zeros(1, inputs + 1, outputs)
    nn.init.trunc_normal_(weight[:, :-1], std=(std := 1 / (2 * math.sqrt(inputs))), a=-2 * std, b=2 * std)
    return weight


def prior_std(inputs: int, scale: float) -> Tensor:
    """Of each row of weights, "1 I+1 1": an output varies as much whatever the number of inputs (Neal 1996)."""
    return torch.tensor([*[scale / math.sqrt(inputs)] * inputs, scale])[None, :, None]


class VariationalLinear(nn.Module):
    """Independent normal weights (Bayes by Backprop, Blundell et al. 2015, arXiv:1505.05424), trained by local
    reparameterization (Kingma et al. 2015, arXiv:1506.02557): outputs are drawn, not weights."""

    noise: Tensor  # of the members' weights, "M I+1 O"
    prior: Tensor

    def __init__(self, inputs: int, outputs: int, prior_scale: float, first_std: float) -> None:
        """``first_std`` is the standard deviation at the start, as a share of the prior's."""
        super().__init__()
        self.register_buffer("prior", prior_std(inputs, prior_scale), persistent=False)
        self.mean = nn.Parameter(first_weights(inputs, outputs))
        self.log_std = nn.Parameter((first_std * self.prior).log().expand_as(self.mean).clone())
        self.register_buffer("noise", torch.zeros_like(self.mean), persistent=False)

    def fix(self, generator: Generator, count: int) -> None:
        """Draw the weights of ``count`` members."""
        shape = (count, *self.mean.shape[1:])
        self.noise = torch.randn(shape, generator=generator, device=generator.device).to(self.mean.device)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs "M B I" through each member's weights."""
        return affine(x, self.mean + self.log_std.exp() * self.noise)

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """Inputs "1 B I" -> outputs drawn for every row, with the mean and variance that random weights give them."""
        mean, variance = affine(x, self.mean), affine(x.square(), (2 * self.log_std).exp())
        return mean + variance.sqrt() * rows_of(torch.randn, mean, generator, shard)

    def divergence(self) -> Tensor:
        """KL of the weights' posterior from their prior, in nats."""
        ratio = self.log_std - self.prior.log()
        return 0.5 * ((2 * ratio).exp() + (self.mean / self.prior).square() - 1 - 2 * ratio).sum()


class DropoutLinear(nn.Module):
    """Weights whose inputs are kept or dropped together (MC dropout, Gal & Ghahramani 2016, arXiv:1506.02142)."""

    noise: Tensor  # which inputs a member keeps, scaled so that the mean stays, "M I+1 1"
    prior: Tensor

    def __init__(self, inputs: int, outputs: int, prior_scale: float, rate: float) -> None:
        """``rate`` is the probability that an input is dropped; the bias never is."""
        super().__init__()
        self.rate = rate
        self.register_buffer("prior", prior_std(inputs, prior_scale), persistent=False)
        self.mean = nn.Parameter(first_weights(inputs, outputs))
        self.register_buffer("noise", torch.ones_like(self.prior), persistent=False)

    def fix(self, generator: Generator, count: int) -> None:
        """Draw the masks of ``count`` members."""
        shape = (count, self.prior.shape[1], 1)
        mask = self._kept(torch.rand(shape, generator=generator, device=generator.device))
        mask[:, -1] = 1
        self.noise = mask.to(self.mean.device)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs "M B I" through each member's weights."""
        return affine(x, self.mean * self.noise)

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """Inputs "1 B I", with a mask for every row."""
        return affine(x * self._kept(rows_of(torch.rand, x, generator, shard)) if self.rate else x, self.mean)

    def divergence(self) -> Tensor:
        """KL of the weights' posterior from a normal prior, up to a constant (their Section 3): a weight decay."""
        keep = torch.full_like(self.prior, 1 / (1 - self.rate))  # the mean square of a weight that is dropped or scaled
        keep[:, -1] = 1
        return 0.5 * (keep * (self.mean / self.prior).square()).sum()

    def _kept(self, uniform: Tensor) -> Tensor:
        return (uniform >= self.rate).to(uniform.dtype) / (1 - self.rate)


Layer = VariationalLinear | DropoutLinear


def rows_of(draw: Callable[..., Tensor], like: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
    """Noise for every row "1 B ..." of a rank's share; drawn for all ranks together, so that their number changes
    nothing."""
    _, rows, size = like.shape
    return shard.of(draw(rows * shard.ranks, size, generator=generator, device=like.device))[None]


class RandomNetwork(nn.Module):
    """SiLU between layers of random weights; ``fix`` draws the members that predict."""

    num_bootstraps = 1

    def __init__(self, layers: list[Layer], divergence_weight: float) -> None:
        super().__init__()
        self.layers: list[Layer] = nn.ModuleList(layers)  # type: ignore[assignment]
        self.divergence_weight = divergence_weight

    @property
    def members(self) -> int:
        return len(self.layers[0].noise)

    def fix(self, generator: Generator, count: int) -> None:
        """Draw the weights of ``count`` members, which then stay."""
        for layer in self.layers:
            layer.fix(generator, count)

    def forward(self, x: Tensor) -> Tensor:
        """What every member says of its own batch: "M B X" -> "M B Y"."""
        first, *rest = self.layers
        x = first(x)
        for layer in rest:
            x = layer(F.silu(x))
        return x

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """A batch "1 B X" in training, with noise of its own for every row."""
        first, *rest = self.layers
        x = first.learn(x, generator, shard)
        for layer in rest:
            x = layer.learn(F.silu(x), generator, shard)
        return x

    def divergence(self) -> Tensor:
        """KL of the weights' posterior from their prior, in nats, times its weight."""
        return self.divergence_weight * torch.stack([layer.divergence() for layer in self.layers]).sum()
