"""Random weights against closed forms: divergence, local reparameterization, Bayesian linear regression."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from pipeline.types import Shard
from pipeline.world_models.bayesian_layers import DropoutLinear, RandomNetwork, VariationalLinear

INPUTS, OUTPUTS, SAMPLES = 5, 3, 40_000


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def variational(prior_scale: float = 0.7, first_std: float = 0.5) -> VariationalLinear:
    """A layer far from where training starts."""
    torch.manual_seed(0)
    layer = VariationalLinear(INPUTS, OUTPUTS, prior_scale, first_std)
    with torch.no_grad():
        layer.mean.add_(torch.randn_like(layer.mean))
        layer.log_std.add_(0.3 * torch.randn_like(layer.log_std))
    return layer


def test_divergence_is_that_of_torch():
    layer = variational(prior_scale=0.7)
    prior = Normal(0, torch.tensor([0.7 / 5**0.5] * 5 + [0.7])[None, :, None])
    expected = kl_divergence(Normal(layer.mean, layer.log_std.exp()), prior).sum()
    torch.testing.assert_close(layer.divergence(), expected)


def test_divergence_of_dropout_is_the_mean_square_of_sampled_weights():
    torch.manual_seed(0)
    layer = DropoutLinear(INPUTS, OUTPUTS, prior_scale=0.7, rate=0.25)
    layer.fix(draws(), SAMPLES)
    prior = torch.tensor([0.7 / 5**0.5] * 5 + [0.7])[None, :, None]
    sampled = (layer.mean * layer.noise / prior).square().mean(0).sum() / 2
    torch.testing.assert_close(layer.divergence(), sampled.detach(), rtol=0.01, atol=0)


@pytest.mark.parametrize(
    "layer", [variational(), DropoutLinear(INPUTS, OUTPUTS, 0.7, rate=0.25)], ids=["normal", "drop"]
)
def test_training_noise_has_the_moments_of_sampled_weights(layer):
    x = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    layer.fix(draws(), SAMPLES)
    members = layer(x.expand(SAMPLES, 1, INPUTS)).squeeze(1).detach()
    learnt = layer.learn(x.expand(1, SAMPLES, INPUTS), draws(1), Shard()).squeeze(0).detach()
    error = members.std(0) / SAMPLES**0.5  # of a mean
    assert ((members.mean(0) - learnt.mean(0)).abs() < 5 * error).all()
    torch.testing.assert_close(learnt.std(0), members.std(0), rtol=0.03, atol=0)


def test_ranks_share_the_noise_of_one_batch():
    torch.manual_seed(0)
    layers = [VariationalLinear(INPUTS, 4, 1.0, 0.5), DropoutLinear(4, OUTPUTS, 1.0, 0.5)]
    network, x = RandomNetwork(layers, 1.0), torch.randn(1, 8, INPUTS)
    whole = network.learn(x, draws(), Shard())
    for rank in range(2):
        part = network.learn(x[:, rank::2], draws(), Shard(rank, 2))
        torch.testing.assert_close(part, whole[:, rank::2])


def test_bayesian_linear_regression_ends_at_the_best_independent_posterior():
    """The exact posterior has precision X'X / noise^2 + 1 / prior^2; the nearest independent normals
    share its mean, and the inverse of its diagonal as variances (Bishop 2006, Section 10.1.2)."""
    rows, noise, scale = 60, 0.5, 2.0
    x = torch.randn(rows, 2, generator=draws()) @ torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    y = x @ torch.tensor([[1.5], [-0.5]]) + 0.3 + noise * torch.randn(rows, 1, generator=draws(1))
    torch.manual_seed(0)
    network = RandomNetwork([VariationalLinear(2, 1, scale, 0.1)], 1.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    batch, generator = x.repeat(50, 1)[None], draws(2)  # fifty draws for every row: less noise in the gradient
    for _ in range(1500):
        error = network.learn(batch, generator, Shard()) - y.repeat(50, 1)
        loss = 0.5 * error.square().mean() / noise**2 + network.divergence() / rows
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    design = torch.cat([x, torch.ones(rows, 1)], dim=1)
    prior = torch.tensor([scale / 2**0.5, scale / 2**0.5, scale])
    precision = design.T @ design / noise**2 + torch.diag(prior**-2)
    mean, std = torch.linalg.solve(precision, design.T @ y / noise**2), precision.diagonal().rsqrt()
    (layer,) = network.layers
    assert ((layer.mean[0] - mean).abs()[:, 0] < 0.05 * std).all()
    torch.testing.assert_close(layer.log_std.detach().exp()[0, :, 0], std, rtol=0.02, atol=0)
