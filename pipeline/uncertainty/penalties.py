"""Penalties on what the members of a world model believe: pure functions of their prediction "M B D" and of what was
drawn from it "B D", giving "B".

Each is a root mean square over the standardised dimensions (or a mean over them, of log-probabilities), so it does not
grow with their number and has no unit; the caller multiplies it by the standard deviation of the logged reward
(:class:`Penalty`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pipeline.interfaces import WorldModel
from pipeline.types import Prediction


def max_aleatoric(prediction: Prediction, sample: Tensor) -> Tensor:
    """The largest noise any member expects (MOPO, Yu et al. 2020, arXiv:2005.13239)."""
    return prediction.std.square().mean(-1).sqrt().amax(0)


def disagreement(prediction: Prediction, sample: Tensor) -> Tensor:
    """The spread of the members' means: epistemic alone (Offline DreamerV2, Lu et al. 2022, arXiv:2206.04779)."""
    return prediction.mean.var(0, correction=0).mean(-1).sqrt()


def ensemble_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The standard deviation of the members' mixture, by the law of total variance: aleatoric and epistemic together
    (Lu et al. 2022, arXiv:2110.04135)."""
    total = prediction.std.square().mean(0) + prediction.mean.var(0, correction=0)
    return total.mean(-1).sqrt()


def log_prob_std(prediction: Prediction, sample: Tensor) -> Tensor:
    """The spread of the log-density that the members give to what was drawn, for each dimension (LOMPO, Rafailov et
    al. 2021, arXiv:2012.11547, where it is the variance)."""
    return prediction.log_prob(sample).std(0, correction=0) / sample.shape[-1]


def entropy(prediction: Prediction, sample: Tensor) -> Tensor:
    """The perplexity of what the members expect, for each dimension: aleatoric alone, and never negative."""
    return (prediction.entropy().mean(0) / sample.shape[-1]).exp()


PENALTIES: dict[str, Callable[[Prediction, Tensor], Tensor]] = {
    "max_aleatoric": max_aleatoric,
    "disagreement": disagreement,
    "ensemble_std": ensemble_std,
    "log_prob_std": log_prob_std,
    "entropy": entropy,
}


@dataclass(frozen=True)
class PenaltyConfig:
    name: str = "ensemble_std"
    weight: float = 1.0  # of the penalty in the learner's reward; has no unit

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight {self.weight} is negative; a bonus for uncertainty is not pessimism")


class Penalty:
    """A named penalty in units of reward."""

    def __init__(self, name: str) -> None:
        self.measure = PENALTIES[name]

    def __call__(self, model: WorldModel, prediction: Prediction, sample: Tensor) -> Tensor:
        return self.measure(prediction, sample) * model.reward_scale
