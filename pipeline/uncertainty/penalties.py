"""Measures of what the members of a world model believe: pure functions of their prediction "M B D" and of what was
drawn from it "B D", giving "B".

Each is a root mean square over the normalized dimensions (or a mean over them, of log-probabilities and divergences),
so it does not grow with their number and has no unit; the caller multiplies it by the standard deviation of the logged
reward (:class:`Penalty`).

Of categorical latents (:class:`pipeline.types.CategoricalPrediction`) those that read ``mean`` and ``std`` take the
moments of the one-hot vectors, normalized, as if they were Gaussian; ``log_prob_std`` and ``entropy`` take the
probabilities themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor

from pipeline.protocols import WorldModel
from pipeline.types import SMALLEST_STD, Prediction, Transitions


def root(square: Tensor) -> Tensor:
    """Square root with gradient zero at zero: that of ``sqrt`` is infinite there, and members may agree exactly."""
    positive = square > 0
    # Both branches of a `where` are differentiated, so the root itself must not see the zero either.
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def max_aleatoric(prediction: Prediction, sample: Tensor) -> Tensor:
    """The largest noise any member expects (MOPO, Yu et al. 2020, arXiv:2005.13239)."""
    return root(prediction.std.square().mean(-1)).amax(0)


def disagreement(prediction: Prediction, sample: Tensor) -> Tensor:
    """The spread of the members' means: epistemic alone (Offline DreamerV2, Lu et al. 2022, arXiv:2206.04779)."""
    return root(prediction.mean.var(0, correction=0).mean(-1))


def ensemble_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The standard deviation of the members' mixture, by the law of total variance: aleatoric and epistemic together
    (Lu et al. 2022, arXiv:2110.04135). Their ensemble variance, its square, ranks steps alike."""
    total = prediction.std.square().mean(0) + prediction.mean.var(0, correction=0)
    return root(total.mean(-1))


def log_prob_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The spread of the log-density that the members give to what was drawn, for each dimension (LOMPO, Rafailov et
    al. 2021, arXiv:2012.11547, where it is the variance)."""
    return prediction.log_prob(sample).std(0, correction=0) / sample.shape[-1]


def entropy(prediction: Prediction, sample: Tensor) -> Tensor:
    """The perplexity of what the members expect, for each dimension: aleatoric alone, and never negative."""
    return (prediction.entropy().mean(0) / sample.shape[-1]).exp()


def pairwise_difference(prediction: Prediction, sample: Tensor) -> Tensor:
    """The largest distance between the means of two members (MOReL, Kidambi et al. 2020, arXiv:2005.05951)."""
    mean = prediction.mean.transpose(0, 1)
    # cdist has a gradient where two members agree, as each does with itself; a square root has none there.
    distance = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.amax((1, 2)) / mean.shape[-1] ** 0.5


def leave_one_out_kl(prediction: Prediction, sample: Tensor) -> Tensor:
    """KL(member || the rest) in nats for each dimension, averaged over the members; the rest is the Gaussian of the
    mean and variance of the other members' mixture (one-vs-rest of M2AC, Pan et al. 2020, arXiv:2010.04893). Zero for a
    single member."""
    members = len(prediction.mean)
    if members == 1:
        return torch.zeros_like(sample[:, 0])
    mean = prediction.mean - prediction.mean.mean(0)  # centered, so that the variance of means keeps its digits
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
    """A measure, and the part of uncertainty that it sees: ``aleatoric`` is the noise of the world, ``epistemic`` what
    more logs would teach, ``total`` both."""

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
    """A named measure in units of reward. It needs no fitting."""

    def __init__(self, name: str) -> None:
        self.function, self.kind = MEASURES[name].function, MEASURES[name].kind

    def fit(self, logged: Transitions, generator: Generator) -> None:
        pass

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        return self.function(prediction, sample) * model.reward_scale
