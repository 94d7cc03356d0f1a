"""Distributions of the stochastic part of a latent state: Gaussian, categorical, or deterministic.

A network outputs the parameters ``params`` "... R" of a distribution. Samples "... D" are computed from ``noise``,
whose kind depends on the distribution. Leading axes are free: time, batch, member.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from einops import rearrange
from torch import Generator, Tensor
from torch.nn import functional as F

from pipeline.types import CategoricalPrediction, Prediction

UNIFORM = 0.01  # share of a uniform in every categorical, so that no class has probability 0 (DreamerV3)
LEAST_STD, LARGEST_STD = 0.02, 2.0


class Latent(Protocol):
    """A family of distributions over latents "... D"."""

    dim: int  # D
    classes: int  # numbers that form one unit: 1 for continuous latents, a one-hot vector for categorical ones
    raw_dim: int  # R, the number of parameters
    random: bool  # False: deterministic

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        """Noise "... D" for one sample with leading axes ``shape``."""

    def sample(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """A reparameterized sample "... D"; the mode when ``noise`` is None."""

    def slope(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """What :meth:`pull_back` needs to know of samples; leading axes as in ``params``."""

    def pull_back(self, slope: Tensor, grad: Tensor) -> Tensor:
        """The gradient "... R" of the parameters from that of their sample, ``grad`` "... D"."""

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """KL(left || right) in nats, summed over the latent's dimensions, "..."."""

    def prediction(self, params: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        """The members' distributions, from ``params`` "M B R", in units of ``spread`` "D"; ``carry`` "B C" is kept."""

    def draw(self, prediction: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        """A reparameterized sample "B D", in units of ``spread`` "D", from the only member of ``prediction`` "1 B D";
        the mode when ``noise`` is None."""


class GaussianLatent:
    """Independent normals with standard deviations between ``LEAST_STD`` and ``LARGEST_STD``."""

    random = True

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.raw_dim = 2 * dim
        self.classes = 1

    def moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation "... D"."""
        mean, scale = params.chunk(2, dim=-1)
        return mean, LEAST_STD + (LARGEST_STD - LEAST_STD) * torch.sigmoid(scale - 2)  # about 0.25 initially

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        """Standard normal noise "... D"."""
        return torch.randn(*shape, self.dim, generator=generator, device=device)

    def sample(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """A reparameterized sample "... D"; the mean when ``noise`` is None."""
        mean, std = self.moments(params)
        return mean if noise is None else torch.addcmul(mean, std, noise)

    def slope(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """Derivatives "... 2 D" of the sample with respect to mean and scale."""
        scale = torch.sigmoid(params.chunk(2, dim=-1)[1] - 2)
        by_scale = torch.zeros_like(scale) if noise is None else (LARGEST_STD - LEAST_STD) * scale * (1 - scale) * noise
        return torch.stack([torch.ones_like(scale), by_scale], dim=-2)

    def pull_back(self, slope: Tensor, grad: Tensor) -> Tensor:
        """The gradient "... R" of the parameters."""
        return (slope * grad.unsqueeze(-2)).flatten(-2)

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """KL(left || right) "..." in nats, summed over dimensions."""
        (m, s), (n, t) = self.moments(left), self.moments(right)
        return (torch.log(t / s) + (s.square() + (m - n).square()) / (2 * t.square()) - 0.5).sum(-1)

    def prediction(self, params: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        """The members' normals, from ``params`` "M B R", in units of ``spread`` "D"."""
        mean, std = self.moments(params)
        return Prediction(mean / spread, std / spread, carry)

    def draw(self, prediction: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        """A reparameterized sample "B D" from ``prediction`` "1 B D"; the mean when ``noise`` is None."""
        mean = prediction.mean.squeeze(0)
        return mean if noise is None else torch.addcmul(mean, prediction.std.squeeze(0), noise)


class PointLatent(GaussianLatent):
    """A deterministic latent: the mean alone.

    Its divergence is that of two normals with standard deviation 1: half the squared distance. Predictions have
    standard deviation 0, so disagreement between members is the only uncertainty.
    """

    random = False

    def moments(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and a standard deviation of one, "... D", for the divergence."""
        mean = params.chunk(2, dim=-1)[0]
        return mean, torch.ones_like(mean)

    def sample(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """The mean "... D"; ``noise`` is ignored."""
        return self.moments(params)[0]

    def slope(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """Derivatives "... 2 D" of the mean: one, and zero for the scale."""
        return super().slope(params, None)

    def prediction(self, params: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        """The members' means, from ``params`` "M B R", in units of ``spread`` "D", with standard deviation 0."""
        mean = self.moments(params)[0] / spread
        return Prediction(mean, torch.zeros_like(mean), carry)


class CategoricalLatent:
    """``groups`` categoricals of ``classes`` each: one-hot vectors side by side, with straight-through gradients
    (DreamerV2, Hafner et al. 2021, arXiv:2010.02193) and a small share of a uniform distribution (DreamerV3, Hafner et
    al. 2023, arXiv:2301.04104)."""

    random = True

    def __init__(self, groups: int, classes: int) -> None:
        self.groups = groups
        self.classes = classes
        self.dim = self.raw_dim = groups * classes

    def probs(self, params: Tensor) -> Tensor:
        """Class probabilities "... G C"."""
        softmax = F.softmax(self._grouped(params), dim=-1)
        return (1 - UNIFORM) * softmax + UNIFORM / self.classes

    def noise(self, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
        """Gumbel noise "... D": the class with the largest log-probability plus noise is a sample."""
        uniform = torch.rand(*shape, self.dim, generator=generator, device=device)
        return -torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))

    def sample(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """One-hot samples "... D" with straight-through gradients; the mode when ``noise`` is None."""
        return self._hot(self.probs(params), noise)

    def slope(self, params: Tensor, noise: Tensor | None) -> Tensor:
        """Class probabilities "... G C" before the share of the uniform."""
        return F.softmax(self._grouped(params), dim=-1)

    def pull_back(self, slope: Tensor, grad: Tensor) -> Tensor:
        """The gradient "... R" of the parameters (straight-through)."""
        weighted = slope * self._grouped(grad)
        return (1 - UNIFORM) * (weighted - slope * weighted.sum(-1, keepdim=True)).flatten(-2)

    def kl(self, left: Tensor, right: Tensor) -> Tensor:
        """KL(left || right) "..." in nats, summed over groups."""
        p, q = self.probs(left), self.probs(right)
        return (p * (p.log() - q.log())).sum((-2, -1))

    def prediction(self, params: Tensor, spread: Tensor, carry: Tensor) -> Prediction:
        """The members' categoricals, from ``params`` "M B R"; moments in units of ``spread`` "D"."""
        probs = self.probs(params).flatten(-2)
        return CategoricalPrediction(probs / spread, (probs * (1 - probs)).sqrt() / spread, carry, probs)

    def draw(self, prediction: Prediction, noise: Tensor | None, spread: Tensor) -> Tensor:
        """One-hot samples "B D" from ``prediction`` "1 B D", in units of ``spread`` "D"; the mode without noise."""
        assert isinstance(prediction, CategoricalPrediction)
        return self._hot(self._grouped(prediction.probs.squeeze(0)), noise) / spread

    def _hot(self, probs: Tensor, noise: Tensor | None) -> Tensor:
        score = probs.log() if noise is None else probs.log() + self._grouped(noise)
        one_hot = torch.zeros_like(probs).scatter_(-1, score.argmax(-1, keepdim=True), 1.0)
        # Straight-through: the value is one-hot, the gradient is that of the probabilities.
        return (one_hot + (probs - probs.detach())).flatten(-2)

    def _grouped(self, params: Tensor) -> Tensor:
        return rearrange(params, "... (g c) -> ... g c", c=self.classes)


LATENTS: dict[str, Callable[[int, int], Latent]] = {  # from the number of variables and of their classes
    "gaussian": lambda stoch, classes: GaussianLatent(stoch),
    "categorical": CategoricalLatent,
    "point": lambda stoch, classes: PointLatent(stoch),
}
