"""Measures of a world model's uncertainty: pure functions of its prediction "M B D" and a sample "B D" of it, to "B".

Each is a root mean square over the normalized dimensions, or a mean over them for log-probabilities and divergences. It
therefore has no unit and does not grow with their number. :class:`Penalty` multiplies it by the standard deviation of
the logged reward.

For categorical latents (:class:`pipeline.types.CategoricalPrediction`), measures of ``mean`` and ``std`` treat the
normalized moments of the one-hot vectors as those of a Gaussian; ``log_prob_std`` and ``entropy`` use the
probabilities.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor

from pipeline.protocols import WorldModel
from pipeline.types import SMALLEST_STD, Prediction, Transitions


def root(square: Tensor) -> Tensor:
    """Elementwise square root with gradient zero at zero, where the gradient of ``sqrt`` is infinite. Members may agree
    exactly."""
    positive = square > 0
    # Both branches of a `where` are differentiated, so the input of sqrt must not be zero either.
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def max_aleatoric(prediction: Prediction, sample: Tensor) -> Tensor:
    """The largest predicted noise of any member (MOPO, Yu et al. 2020, arXiv:2005.13239): aleatoric."""
    return root(prediction.std.square().mean(-1)).amax(0)


def disagreement(prediction: Prediction, sample: Tensor) -> Tensor:
    """The standard deviation of the members' means (Offline DreamerV2, Lu et al. 2022, arXiv:2206.04779): epistemic."""
    return root(_variance(prediction.mean).mean(-1))


def ensemble_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The standard deviation of the members' mixture, by the law of total variance: aleatoric and epistemic (Lu et al.
    2022, arXiv:2110.04135). Their ensemble variance is its square, so it ranks steps in the same order."""
    total = prediction.std.square().mean(0) + _variance(prediction.mean)
    return root(total.mean(-1))


def _variance(x: Annotated[Tensor, "M B D"]) -> Annotated[Tensor, "B D"]:
    """Over members. On a CPU ``torch.var`` along the first axis takes thirty times as long."""
    return (x - x.mean(0)).square().mean(0)


def log_prob_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The standard deviation over members of the sample's log-density, divided by the number of dimensions: epistemic
    (LOMPO, Rafailov et al. 2021, arXiv:2012.11547, uses the variance)."""
    return prediction.log_prob(sample).std(0, correction=0) / sample.shape[-1]


def entropy(prediction: Prediction, sample: Tensor) -> Tensor:
    """The exponential of the members' mean entropy per dimension (the perplexity): aleatoric, and never negative."""
    return (prediction.entropy().mean(0) / sample.shape[-1]).exp()


def pairwise_difference(prediction: Prediction, sample: Tensor) -> Tensor:
    """The largest distance between the means of two members (MOReL, Kidambi et al. 2020, arXiv:2005.05951):
    epistemic."""
    mean = prediction.mean.transpose(0, 1)
    # cdist has a gradient at distance zero, as of each member to itself; a square root has none.
    distance = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.amax((1, 2)) / mean.shape[-1] ** 0.5


def leave_one_out_kl(prediction: Prediction, sample: Tensor) -> Tensor:
    """KL(member || rest) in nats, averaged over members and dimensions: epistemic. The rest is a Gaussian with the mean
    and variance of the other members' mixture (one-vs-rest of M2AC, Pan et al. 2020, arXiv:2010.04893). A single member
    gives zero."""
    members = len(prediction.mean)
    if members == 1:
        return torch.zeros_like(sample[:, 0])
    mean = prediction.mean - prediction.mean.mean(0)  # centered for precision of the variance
    variance = prediction.std.clamp(min=SMALLEST_STD).square()
    rest_mean, second_moment = (_mean_of_others(x) for x in (mean, variance + mean.square()))
    rest_variance = (second_moment - rest_mean.square()).clamp(min=SMALLEST_STD**2)
    ratio = variance / rest_variance
    kl = 0.5 * (ratio - 1 - ratio.log() + (mean - rest_mean).square() / rest_variance)
    return kl.mean((0, 2))


def _mean_of_others(x: Annotated[Tensor, "M B D"]) -> Annotated[Tensor, "M B D"]:
    """For each member, the mean over all the others."""
    return (x.sum(0) - x) / (len(x) - 1)


@dataclass(frozen=True)
class Measure:
    """A measure and its kind of uncertainty: ``aleatoric`` is the noise of the environment, ``epistemic`` is
    uncertainty that more logs would reduce, ``total`` is both."""

    function: Callable[[Prediction, Tensor], Tensor]
    kind: str


MEASURES = {
    "max_aleatoric": Measure(max_aleatoric, "aleatoric"),
    "disagreement": Measure(disagreement, "epistemic"),
    "ensemble_std": Measure(ensemble_std, "total"),
    "log_prob_std": Measure(log_prob_std, "epistemic"),
    "entropy": Measure(entropy, "aleatoric"),
    "pairwise_difference": Measure(pairwise_difference, "epistemic"),
    "leave_one_out_kl": Measure(leave_one_out_kl, "epistemic"),
}


class Penalty:
    """A measure as a penalty in units of reward."""

    def __init__(self, name: str) -> None:
        """``name`` is a key of ``MEASURES``."""
        self.function = MEASURES[name].function
        self.kind = MEASURES[name].kind

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Nothing to fit."""

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """The penalty "B" of ``prediction`` "M B D" and its ``sample`` "B D", in units of reward."""
        return self.function(prediction, sample) * model.reward_scale
