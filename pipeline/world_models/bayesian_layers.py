"""Layers with random weights, and a network of them. Its members are weight samples, fixed until the next ``fix``.

The weights "I+1 O" of a layer hold its biases as their last row. In training every row of a batch gets its own noise.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.types import Shard


def affine(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply inputs "M B I" with weights "M I+1 O" and add the biases: "M B O"."""
    return torch.baddbmm(weight[:, -1:], x, weight[:, :-1])


def first_weights(inputs: int, outputs: int) -> Tensor:
    """Initial weights "1 I+1 O" as in PETS (Chua et al. 2018, arXiv:1805.12114), with biases of zero."""
    weight = torch.zeros(1, inputs + 1, outputs)
    nn.init.trunc_normal_(weight[:, :-1], std=(std := 1 / (2 * math.sqrt(inputs))), a=-2 * std, b=2 * std)
    return weight


def prior_std(inputs: int, scale: float) -> Tensor:
    """Standard deviation of the prior of each row of weights, "1 I+1 1". It shrinks with the number of inputs, so the
    variance of an output does not depend on them (Neal 1996)."""
    return torch.tensor([*[scale / math.sqrt(inputs)] * inputs, scale])[None, :, None]


class VariationalLinear(nn.Module):
    """Independent normal weights (Bayes by Backprop, Blundell et al. 2015, arXiv:1505.05424), trained by local
    reparameterization, which samples outputs instead of weights (Kingma et al. 2015, arXiv:1506.02557)."""

    noise: Tensor  # standard normal noise of the members' weights, "M I+1 O"
    prior: Tensor

    def __init__(self, inputs: int, outputs: int, prior_scale: float, first_std: float) -> None:
        """``first_std`` is the initial standard deviation, as a share of the prior's."""
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
        """Inputs "M B I" -> outputs "M B O" of each member's weights."""
        return affine(x, self.mean + self.log_std.exp() * self.noise)

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """Inputs "1 B I" -> outputs "1 B O", sampled for every row from their distribution under the posterior."""
        mean = affine(x, self.mean)
        variance = affine(x.square(), (2 * self.log_std).exp())
        return mean + variance.sqrt() * rows_of(torch.randn, mean, generator, shard)

    def divergence(self) -> Tensor:
        """KL(posterior || prior) of the weights, in nats."""
        log_ratio = self.log_std - self.prior.log()
        return 0.5 * ((2 * log_ratio).exp() + (self.mean / self.prior).square() - 1 - 2 * log_ratio).sum()


class DropoutLinear(nn.Module):
    """Weights with dropout on their inputs (MC dropout, Gal & Ghahramani 2016, arXiv:1506.02142)."""

    noise: Tensor  # each member's mask "M I+1 1", scaled to mean 1
    prior: Tensor

    def __init__(self, inputs: int, outputs: int, prior_scale: float, rate: float) -> None:
        """``rate`` is the probability that an input is dropped; the bias is never dropped."""
        super().__init__()
        self.rate = rate
        self.register_buffer("prior", prior_std(inputs, prior_scale), persistent=False)
        self.mean = nn.Parameter(first_weights(inputs, outputs))
        self.register_buffer("noise", torch.ones_like(self.prior), persistent=False)

    def fix(self, generator: Generator, count: int) -> None:
        """Draw the masks of ``count`` members."""
        shape = (count, self.prior.shape[1], 1)
        mask = self._mask(torch.rand(shape, generator=generator, device=generator.device))
        mask[:, -1] = 1
        self.noise = mask.to(self.mean.device)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs "M B I" -> outputs "M B O" of each member's weights."""
        return affine(x, self.mean * self.noise)

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """Inputs "1 B I" -> outputs "1 B O", with a new mask for every row."""
        return affine(x * self._mask(rows_of(torch.rand, x, generator, shard)) if self.rate else x, self.mean)

    def divergence(self) -> Tensor:
        """KL(posterior || normal prior) of the weights up to a constant, in nats: a weight decay (Gal & Ghahramani
        2016, Section 3)."""
        mean_square = torch.full_like(self.prior, 1 / (1 - self.rate))  # of the mask
        mean_square[:, -1] = 1
        return 0.5 * (mean_square * (self.mean / self.prior).square()).sum()

    def _mask(self, uniform: Tensor) -> Tensor:
        return (uniform >= self.rate).to(uniform.dtype) / (1 - self.rate)


Layer = VariationalLinear | DropoutLinear


def rows_of(draw: Callable[..., Tensor], like: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
    """Noise for the rows of ``like`` "1 B I", which are one rank's share of a batch; ``draw`` is ``torch.rand`` or
    ``torch.randn``. It is drawn for all ranks together, so the result does not depend on their number."""
    _, rows, size = like.shape
    return shard.of(draw(rows * shard.ranks, size, generator=generator, device=like.device))[None]


class RandomNetwork(nn.Module):
    """Layers with random weights and SiLU between them; ``fix`` samples the members."""

    num_bootstraps = 1

    def __init__(self, layers: list[Layer], divergence_weight: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.divergence_weight = divergence_weight

    @property
    def members(self) -> int:
        """Number of weight samples."""
        return len(self._layers()[0].noise)

    def _layers(self) -> list[Layer]:
        return [cast(Layer, layer) for layer in self.layers]

    def fix(self, generator: Generator, count: int) -> None:
        """Draw the weights of ``count`` members and keep them."""
        for layer in self._layers():
            layer.fix(generator, count)

    def forward(self, x: Tensor) -> Tensor:
        """One batch for each member, "M B X" -> "M B Y"."""
        first, *rest = self._layers()
        x = first(x)
        for layer in rest:
            x = layer(F.silu(x))
        return x

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """A training batch "1 B X" -> "1 B Y", with new noise for every row."""
        first, *rest = self._layers()
        x = first.learn(x, generator, shard)
        for layer in rest:
            x = layer.learn(F.silu(x), generator, shard)
        return x

    def divergence(self) -> Tensor:
        """``divergence_weight`` times KL(posterior || prior) of all weights, in nats."""
        return self.divergence_weight * torch.stack([layer.divergence() for layer in self._layers()]).sum()
