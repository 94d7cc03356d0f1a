"""The window of a GRU with its gradient by hand, against a loop of modules under autograd."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pipeline.networks.mlp import mlp
from pipeline.world_models.latents import CategoricalLatent, GaussianLatent, Latent, PointLatent
from pipeline.world_models.posterior import FilteredWindow, PosteriorFilter
from pipeline.world_models.recurrent_cells import GRURecurrence, LSTMRecurrence, NoRecurrence

LATENTS = [GaussianLatent(6), PointLatent(6), CategoricalLatent(2, 3)]
BATCH, FRAMES, ACTION, EMBED = 4, 7, 2, 5
REAL = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def filter_for(latent: Latent, recurrence: type[nn.Module] = GRURecurrence) -> PosteriorFilter:
    cell = recurrence(latent.dim + ACTION, 8, 9).double()
    posterior = mlp([cell.features_dim + EMBED, 10, latent.raw_dim], nn.SiLU).double()
    return PosteriorFilter(posterior, cell, latent)


def plain(run: PosteriorFilter, embedding: Tensor, action: Tensor, noise: Tensor | None) -> FilteredWindow:
    carry = torch.zeros(BATCH, run.recurrence.carry_dim, **REAL)
    latent = torch.zeros(BATCH, run.latent.dim, **REAL)
    states, all_features, all_params = [], [], []
    for t in range(FRAMES):
        x = torch.cat([latent, action[:, t]], dim=1)
        carry = run.recurrence(carry, x)
        features = run.recurrence.features(carry, x)
        params = run.posterior(torch.cat([features, embedding[:, t]], dim=1))
        latent = run.latent.sample(params, None if noise is None else noise[:, t])
        states.append(torch.cat([carry, latent], dim=1))
        all_features.append(features)
        all_params.append(params)
    return FilteredWindow(*(torch.stack(x, 1) for x in (states, all_features, all_params)))


def inputs(latent: Latent, drawn: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    embedding = torch.randn(BATCH, FRAMES, EMBED, **REAL, requires_grad=True)
    noise = latent.noise((BATCH, FRAMES), torch.Generator().manual_seed(1), torch.device("cpu")).double()
    return embedding, torch.randn(BATCH, FRAMES, ACTION, **REAL, requires_grad=True), noise if drawn else None


def gradients(window: FilteredWindow, of: list[Tensor]) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    outputs = (window.state, window.features, window.posterior)
    loss = sum((x * torch.randn(x.shape, **REAL)).sum() for x in outputs)
    return torch.autograd.grad(loss, of)


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("latent", LATENTS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("recurrence", [GRURecurrence, LSTMRecurrence, NoRecurrence])
def test_equals_a_plain_loop(latent: Latent, recurrence: type[nn.Module], drawn: bool):
    run = filter_for(latent, recurrence)
    embedding, action, noise = inputs(latent, drawn)
    expected, actual = plain(run, embedding, action, noise), run(embedding, action, noise)
    torch.testing.assert_close(vars(actual), vars(expected))
    leaves = [embedding, action, *run.posterior.parameters(), *run.recurrence.parameters()]
    torch.testing.assert_close(gradients(actual, leaves), gradients(expected, leaves))


def test_a_window_that_only_its_first_frame_needs():
    run = filter_for(LATENTS[0])
    embedding, action, noise = inputs(LATENTS[0], True)
    leaves = [embedding, *run.recurrence.cell.parameters()]
    plainly, by_hand = (
        torch.autograd.grad(filtered(embedding, action, noise).state[:, 0].sum(), leaves)
        for filtered in (lambda *x: plain(run, *x), run)
    )
    torch.testing.assert_close(by_hand, plainly)
    assert by_hand[0][:, 1:].eq(0).all()


def test_autocast_keeps_to_autograd():
    run = filter_for(LATENTS[0])
    run.posterior.float()
    run.recurrence.float()
    embedding, action, noise = (x.float() for x in inputs(LATENTS[0], True))
    with torch.autocast("cpu", torch.bfloat16):
        window = run(embedding, action, noise)
    assert window.state.isfinite().all()
    torch.testing.assert_close(window.state, run(embedding, action, noise).state, atol=0.1, rtol=0.1)
