"""Latent distributions against torch's own, and against draws."""

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from pipeline.types import CategoricalPrediction
from pipeline.world_models.latents import CategoricalLatent, GaussianLatent, PointLatent


def raws(dim: int, count: int = 2) -> list[torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return [torch.randn(7, dim, generator=draws) for _ in range(count)]


def noise(latent, rows: int) -> torch.Tensor:
    return latent.noise((rows,), torch.Generator().manual_seed(1), torch.device("cpu"))


def test_divergence_of_gaussians():
    latent = GaussianLatent(3)
    left, right = raws(latent.raw_dim)
    p, q = (Normal(*latent.moments(raw)) for raw in (left, right))
    torch.testing.assert_close(latent.kl(left, right), kl_divergence(p, q).sum(-1))
    torch.testing.assert_close(latent.kl(left, left), torch.zeros(7), atol=1e-6, rtol=0)


def test_divergence_of_categoricals():
    latent = CategoricalLatent(3, 4)
    left, right = raws(latent.raw_dim)
    p, q = (Categorical(latent.probs(raw)) for raw in (left, right))
    torch.testing.assert_close(latent.kl(left, right), kl_divergence(p, q).sum(-1))


def test_divergence_of_points_is_half_the_squared_distance():
    latent = PointLatent(2)
    left, right = torch.tensor([[1.0, 2.0, 9.0, 9.0]]), torch.tensor([[4.0, -2.0, 0.0, 0.0]])
    assert latent.kl(left, right).tolist() == [12.5]  # (9 + 16) / 2, whatever the unused half says
    assert latent.sample(left, torch.ones(1, 2)).tolist() == [[1.0, 2.0]]


def test_no_class_is_impossible():
    probs = CategoricalLatent(1, 4).probs(torch.tensor([[100.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(probs, torch.tensor([[[0.9925, 0.0025, 0.0025, 0.0025]]]))


def test_categorical_draws_have_their_probabilities_and_are_one_hot():
    latent = CategoricalLatent(1, 3)
    raw = torch.tensor([0.0, 1.0, -1.0]).expand(100_000, 3)
    drawn = latent.sample(raw, noise(latent, 100_000))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), latent.probs(raw[0])[0], atol=0.01, rtol=0)
    assert latent.sample(raw[:1], None).tolist() == [[0.0, 1.0, 0.0]]


def test_straight_through_gradient_is_that_of_the_probabilities():
    latent, weight = CategoricalLatent(1, 3), torch.tensor([1.0, 2.0, 5.0])
    raw = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
    (through,) = torch.autograd.grad((latent.sample(raw, noise(latent, 1)) * weight).sum(), raw)
    (expected,) = torch.autograd.grad((latent.probs(raw)[0] * weight).sum(), raw)
    torch.testing.assert_close(through, expected)


@pytest.mark.parametrize("latent", [GaussianLatent(3), CategoricalLatent(3, 4), PointLatent(3)])
def test_a_prediction_draws_what_a_sample_is(latent):
    raw, spread = raws(latent.raw_dim)[0], torch.rand(latent.dim) + 0.5
    believed, drawn = latent.prediction(raw[None], spread, torch.zeros(7, 0)), noise(latent, 7)
    torch.testing.assert_close(latent.draw(believed, drawn, spread) * spread, latent.sample(raw, drawn))
    torch.testing.assert_close(latent.draw(believed, None, spread) * spread, latent.sample(raw, None))


def test_moments_of_a_categorical_prediction():
    latent, spread = CategoricalLatent(2, 3), torch.full((6,), 0.5)
    raw = torch.randn(6, generator=torch.Generator().manual_seed(2)).expand(50_000, 6)
    believed = latent.prediction(raw[None], spread, torch.zeros(50_000, 0))
    drawn = latent.draw(believed, noise(latent, 50_000), spread)
    assert isinstance(believed, CategoricalPrediction)
    torch.testing.assert_close(drawn.mean(0), believed.mean[0, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), believed.std[0, 0], atol=0.02, rtol=0)
