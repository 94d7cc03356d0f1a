"""Each penalty on a two-member toy, worked by hand."""

import math

import torch

from pipeline.types import CategoricalPrediction, Prediction
from pipeline.uncertainty.penalties import (
    PENALTIES,
    disagreement,
    ensemble_std,
    entropy,
    log_prob_std,
    max_aleatoric,
)

# two members, one row, two dimensions
TOY = Prediction(mean=torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]]]), std=torch.tensor([[[1.0, 2.0]], [[3.0, 0.5]]]),
                 carry=torch.zeros(1, 0))  # fmt: skip
DRAWN = torch.tensor([[1.0, 3.0]])


def test_max_aleatoric():
    # member norms: sqrt((1 + 4) / 2) and sqrt((9 + 0.25) / 2)
    torch.testing.assert_close(max_aleatoric(TOY, DRAWN), torch.tensor([(9.25 / 2) ** 0.5]))


def test_disagreement():
    # variances of the means over members: 1 and 0
    torch.testing.assert_close(disagreement(TOY, DRAWN), torch.tensor([0.5**0.5]))


def test_ensemble_std_is_the_standard_deviation_of_the_mixture():
    # total variances: (1 + 9) / 2 + 1 and (4 + 0.25) / 2 + 0
    torch.testing.assert_close(ensemble_std(TOY, DRAWN), torch.tensor([((6 + 2.125) / 2) ** 0.5]))
    draws = torch.Generator().manual_seed(0)
    member = torch.randint(2, (200_000,), generator=draws)
    sampled = TOY.mean[member, 0] + TOY.std[member, 0] * torch.randn(200_000, 2, generator=draws)
    torch.testing.assert_close(sampled.var(0).mean().sqrt(), ensemble_std(TOY, DRAWN)[0], rtol=0.01, atol=0)


def normal_log(x: float, mean: float, std: float) -> float:
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


def test_log_prob_std():
    first, second = normal_log(1, 0, 1) + normal_log(3, 1, 2), normal_log(1, 2, 3) + normal_log(3, 1, 0.5)
    # over two members the standard deviation is half the difference; for each of two dimensions half of that
    torch.testing.assert_close(log_prob_std(TOY, DRAWN), torch.tensor([abs(first - second) / 4]))


def test_entropy_is_the_geometric_mean_of_the_spreads():
    # entropy of a normal is log(std sqrt(2 pi e)); its mean over members and dimensions is that of the geometric mean
    spread = (1 * 2 * 3 * 0.5) ** 0.25
    torch.testing.assert_close(entropy(TOY, DRAWN), torch.tensor([spread * math.sqrt(2 * math.pi * math.e)]))


def test_categorical_latents_have_probabilities_instead_of_densities():
    probs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    believed = CategoricalPrediction(probs, (probs * (1 - probs)).sqrt(), torch.zeros(1, 0), probs)
    drawn = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(believed.log_prob(drawn), torch.tensor([[0.1], [0.5]]).log())
    torch.testing.assert_close(believed.entropy()[1], torch.tensor([math.log(2)]))
    torch.testing.assert_close(log_prob_std(believed, drawn), torch.tensor([math.log(5) / 4]))


def test_penalties_do_not_grow_with_the_number_of_dimensions():
    wide = Prediction(TOY.mean.repeat(1, 1, 5), TOY.std.repeat(1, 1, 5), TOY.carry)
    for penalty in PENALTIES.values():
        torch.testing.assert_close(penalty(wide, DRAWN.repeat(1, 5)), penalty(TOY, DRAWN))
