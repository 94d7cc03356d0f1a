"""Calibration of predictive distributions.

The prediction is the mixture of a world model's elites: normals of mean and std "M B D", all with the same weight. The
targets are "B D". Every output d is treated on its own.

A temperature widens (above 1) or narrows the noise of every member; their disagreement stays as it is.
"""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Normal

from pipeline.types import SMALLEST_STD

LARGEST = 100.0  # temperatures are searched between this and its inverse
POINTS, ROUNDS = 11, 7  # of the search: each round looks between the neighbors of the best point so far


def measured_mean(values: Annotated[Tensor, "B D"]) -> Annotated[Tensor, "D"]:
    """Mean of each column over the rows that are not NaN; targets that were not measured are NaN."""
    return values.nanmean(0) if values.isnan().any() else values.mean(0)


def pit(
    mean: Annotated[Tensor, "M B D"], std: Annotated[Tensor, "M B D"], target: Annotated[Tensor, "B D"]
) -> Annotated[Tensor, "B D"]:
    """Probability integral transform: the mixture's exact distribution function at the targets. It is uniform on [0, 1]
    if the distribution is right (Dawid 1984, "The prequential approach")."""
    return torch.special.ndtr((target - mean) / std.clamp(min=SMALLEST_STD)).mean(0)


def coverage(u: Annotated[Tensor, "B D"], levels: list[float]) -> Annotated[Tensor, "L D"]:
    """Share of the targets, given as their :func:`pit`, inside the central interval of each level: between the
    mixture's quantiles (1 - level) / 2 and (1 + level) / 2."""
    off_center = (u - 0.5).abs()
    inside = [torch.where(u.isnan(), u, (off_center <= level / 2).to(u)) for level in levels]
    return torch.stack([measured_mean(x) for x in inside])


def negative_log_likelihood(
    mean: Annotated[Tensor, "M B D"], std: Annotated[Tensor, "M B D"], target: Annotated[Tensor, "B D"]
) -> Annotated[Tensor, "B D"]:
    """Negative log-density of the mixture at the targets, in nats."""
    log_prob = Normal(mean, std.clamp(min=SMALLEST_STD), validate_args=False).log_prob(target)
    return math.log(len(mean)) - torch.logsumexp(log_prob, dim=0)


def fit_temperature(
    mean: Annotated[Tensor, "M B D"], std: Annotated[Tensor, "M B D"], target: Annotated[Tensor, "B D"]
) -> Annotated[Tensor, "D"]:
    """For each output, the factor on every member's std that maximizes the likelihood of these targets.

    After Guo et al. 2017 (arXiv:1706.04599); for regression, Levi et al. 2019 (arXiv:1905.11659). Evaluate it on other
    targets than these.
    """
    best = torch.zeros_like(target[0])
    reach = math.log(LARGEST)
    for _ in range(ROUNDS):
        # A grid, because the likelihood of a mixture may have several peaks.
        candidates = best + torch.linspace(-reach, reach, POINTS, device=best.device)[:, None]
        loss = torch.stack([measured_mean(negative_log_likelihood(mean, std * t.exp(), target)) for t in candidates])
        best = candidates.gather(0, loss.argmin(0, keepdim=True)).squeeze(0)
        reach *= 2 / (POINTS - 1)
    return best.exp()
