"""Each penalty on a two-member toy, worked by hand."""

import torch

from pipeline.types import Prediction
from pipeline.uncertainty.penalties import PENALTIES, disagreement, ensemble_std, max_aleatoric

# two members, one row, two dimensions
TOY = Prediction(mean=torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]]]), std=torch.tensor([[[1.0, 2.0]], [[3.0, 0.5]]]))


def test_max_aleatoric():
    # member norms: sqrt((1 + 4) / 2) and sqrt((9 + 0.25) / 2)
    torch.testing.assert_close(max_aleatoric(TOY), torch.tensor([(9.25 / 2) ** 0.5]))


def test_disagreement():
    # variances of the means over members: 1 and 0
    torch.testing.assert_close(disagreement(TOY), torch.tensor([0.5**0.5]))


def test_ensemble_std_is_the_standard_deviation_of_the_mixture():
    # total variances: (1 + 9) / 2 + 1 and (4 + 0.25) / 2 + 0
    torch.testing.assert_close(ensemble_std(TOY), torch.tensor([((6 + 2.125) / 2) ** 0.5]))
    draws = torch.Generator().manual_seed(0)
    member = torch.randint(2, (200_000,), generator=draws)
    sampled = TOY.mean[member, 0] + TOY.std[member, 0] * torch.randn(200_000, 2, generator=draws)
    torch.testing.assert_close(sampled.var(0).mean().sqrt(), ensemble_std(TOY)[0], rtol=0.01, atol=0)


def test_penalties_do_not_grow_with_the_number_of_dimensions():
    wide = Prediction(TOY.mean.repeat(1, 1, 5), TOY.std.repeat(1, 1, 5))
    for penalty in PENALTIES.values():
        torch.testing.assert_close(penalty(wide), penalty(TOY))
