"""Filtering: the posterior over latents along a window of observations."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.world_models.latents import Latent
from pipeline.world_models.recurrent_cells import Recurrence


@dataclass(frozen=True)
class FilteredWindow:
    """Filtered states of windows, and what the heads need of them; every field runs over the frames "T+1"."""

    state: Tensor  # "B T+1 Z"
    features: Tensor  # "B T+1 F", the input of the prior heads
    posterior: Tensor  # "B T+1 R", parameters of the posterior


@dataclass(frozen=True)
class PosteriorFilter:
    """Runs a recurrence and the posterior network of its latent over windows."""

    posterior: nn.Sequential  # features and embedding side by side -> parameters "R"
    recurrence: Recurrence
    latent: Latent

    def __call__(
        self, carry: Tensor, latent: Tensor, embedding: Tensor, action: Tensor, noise: Sequence[Tensor | None]
    ) -> FilteredWindow:
        """Filter from ``carry`` "B C" and ``latent`` "B D". ``embedding`` "B T+1 E" is of the observations, ``action``
        "B T+1 A" precedes each of them, and ``noise`` holds "B D" or None (the mode) for each frame."""
        first = self.posterior[0]
        assert isinstance(first, nn.Linear)
        rest = self.posterior[1:]
        sizes = [self.recurrence.features_dim, embedding.shape[-1]]
        feature_weight, embedding_weight = first.weight.split(sizes, dim=1)
        # The embedding's part of the first layer does not depend on the recurrence: one product for the whole window.
        embedded = F.linear(embedding, embedding_weight, first.bias)
        rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        # Unbound, because the gradient of each indexed step would be as large as the window.
        for action_t, embedded_t, noise_t in zip(action.unbind(1), embedded.unbind(1), noise, strict=True):
            x = torch.cat([latent, action_t], dim=-1)
            carry = self.recurrence(carry, x)
            features = self.recurrence.features(carry, x)
            params = rest(torch.addmm(embedded_t, features, feature_weight.T))
            latent = self.latent.sample(params, noise_t)
            rows.append((carry, latent, features, params))
        carries, latents, features, params = (torch.stack(x, 1) for x in zip(*rows, strict=True))
        return FilteredWindow(torch.cat([carries, latents], dim=-1), features, params)
