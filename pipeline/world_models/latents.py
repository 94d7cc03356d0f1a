"""The stochastic part of a latent state: Gaussian, categorical, or a point without noise.

A latent is described by ``raw`` numbers "... R" that a network gives, sampled with ``noise`` of the latent's own kind,
and compared by the Kullback-Leibler divergence of one raw from another. Leading axes are free: time, batch, member.
"""

from typing import Protocol

import torch
from einops import rearrange
from torch import Generator, Tensor
from torch.nn import functional as F

from pipeline.types import CategoricalPrediction, Prediction

UNIFORM = 0.01  # share of a uniform in every categorical: no class is ever impossible (DreamerV3)
LEAST_STD, LARGEST_STD = 0.02, 2.0


class Latent(Protocol):
    """``dim`` numbers are drawn, ``classes`` of them form one unit; ``raw_dim`` describe their distribution; ``random``
    says whether it has any width."""

    dim: int
    classes: int  # 1 where continuous
    raw_dim: int
    random: bool

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        """What one sample of leading ``shape`` needs, "... D"."""

    def sample(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        """A reparameterized draw "... D"; the mode when ``noise`` is None."""

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """KL(left || right) in nats, summed over the latent's dimensions, "..."."""

    def prediction(self, raw: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        """What members believe, ``raw`` "M B R", in units of ``spread`` "D"."""

    def draw(self, believed: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        """A reparameterized draw "B D" in units of ``spread`` from the only member of ``believed`` "1 B D"."""


class GaussianLatent:
    """Independent normals, with a standard deviation kept between 0.02 and 2."""

    random = True

    def __init__(self, dim: int) -> None:
        self.dim, self.raw_dim, self.classes = dim, 2 * dim, 1

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = raw.chunk(2, dim=-1)
        return mean, LEAST_STD + (LARGEST_STD - LEAST_STD) * torch.sigmoid(scale - 2)  # about 0.25 at first

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        return torch.randn(*shape, self.dim, generator=generator, device=device)

    def sample(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        mean, std = self.moments(raw)
        return mean if noise is None else mean + std * noise

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        (m, s), (n, t) = self.moments(left), self.moments(right)
        return (torch.log(t / s) + (s.square() + (m - n).square()) / (2 * t.square()) - 0.5).sum(-1)

    def prediction(self, raw: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        mean, std = self.moments(raw)
        return Prediction(mean / spread, std / spread, carry)

    def draw(self, believed: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        return believed.mean[0] if noise is None else believed.mean[0] + believed.std[0] * noise


class PointLatent(GaussianLatent):
    """A deterministic transition: the mean alone. Its divergence is that of two normals of unit spread, half the
    squared distance; it expects no noise, so all of its uncertainty is disagreement."""

    random = False

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean = raw.chunk(2, dim=-1)[0]
        return mean, torch.ones_like(mean)

    def sample(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        return self.moments(raw)[0]

    def prediction(self, raw: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        mean = self.moments(raw)[0] / spread
        return Prediction(mean, torch.zeros_like(mean), carry)


class CategoricalLatent:
    """``groups`` categoricals of ``classes`` each, as one-hot vectors side by side, with straight-through gradients
    (DreamerV2, Hafner et al. 2021, arXiv:2010.02193) and 1 % of a uniform mixed in (DreamerV3)."""

    random = True

    def __init__(self, groups: int, classes: int) -> None:
        self.groups, self.classes = groups, classes
        self.dim = self.raw_dim = groups * classes

    def probs(self, raw: Tensor) -> Tensor:
        """Class probabilities "... G C"."""
        softmax = F.softmax(self._grouped(raw), dim=-1)
        return (1 - UNIFORM) * softmax + UNIFORM / self.classes

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        """Gumbel noise: the largest of log-probability plus noise is a draw."""
        uniform = torch.rand(*shape, self.dim, generator=generator, device=device)
        return -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))

    def sample(self, raw: Tensor, noise: Tensor | None) -> Tensor:
        return self._hot(self.probs(raw), noise)

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        p, q = self.probs(left), self.probs(right)
        return (p * (p.log() - q.log())).sum((-2, -1))

    def prediction(self, raw: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        probs = self.probs(raw).flatten(-2)
        return CategoricalPrediction(probs / spread, (probs * (1 - probs)).sqrt() / spread, carry, probs)

    def draw(self, believed: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        assert isinstance(believed, CategoricalPrediction)
        return self._hot(self._grouped(believed.probs[0]), noise) / spread

    def _hot(self, probs: Tensor, noise: Tensor | None) -> Tensor:
        score = probs.log() if noise is None else probs.log() + self._grouped(noise)
        hot = F.one_hot(score.argmax(-1), self.classes).to(probs.dtype)
        # The value is the one-hot, the gradient that of the probabilities.
        return (hot + (probs - probs.detach())).flatten(-2)

    def _grouped(self, raw: Tensor) -> Tensor:
        return rearrange(raw, "... (g c) -> ... g c", c=self.classes)
