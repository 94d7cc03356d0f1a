"""Filtering: the posterior over latents along a window of observations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.world_models.gru_window import GRUWindow, Weights
from pipeline.world_models.latents import Latent
from pipeline.world_models.recurrent_cells import GRURecurrence, Recurrence


@dataclass(frozen=True)
class FilteredWindow:
    """Filtered states of windows, and what the heads need of them; every field runs over the frames "T+1"."""

    state: Tensor  # "B T+1 Z"
    features: Tensor  # "B T+1 F", the input of the prior heads
    posterior: Tensor  # "B T+1 R", parameters of the posterior


@dataclass(frozen=True)
class PosteriorFilter:
    """Runs a recurrence and the posterior network of its latent over windows, from a carry and a latent of zeros."""

    posterior: nn.Sequential  # features and embedding side by side -> parameters "R"
    recurrence: Recurrence
    latent: Latent

    def __call__(self, embedding: Tensor, action: Tensor, noise: Tensor | None) -> FilteredWindow:
        """``embedding`` "B T+1 E" is of the observations, ``action`` "B T+1 A" precedes each of them, and ``noise`` is
        "B T+1 D", or None for modes."""
        first = self.posterior[0]
        assert isinstance(first, nn.Linear)
        sizes = [self.recurrence.features_dim, embedding.shape[-1]]
        feature_weight, embedding_weight = first.weight.split(sizes, dim=1)
        # The embedding's part of the first layer does not depend on the recurrence: one product for the whole window.
        embedded = F.linear(embedding, embedding_weight, first.bias)
        if isinstance(self.recurrence, GRURecurrence) and not torch.is_autocast_enabled(action.device.type):
            return self._by_hand(self.recurrence, embedded, action, noise, feature_weight)
        return self._by_autograd(embedded, action, noise, feature_weight)

    def _by_hand(
        self, recurrence: GRURecurrence, embedded: Tensor, action: Tensor, noise: Tensor | None, feature_weight: Tensor
    ) -> FilteredWindow:
        """The same as :meth:`_by_autograd`, faster (:mod:`pipeline.world_models.gru_window`)."""
        enter, cell, last = recurrence.enter[0], recurrence.cell, self.posterior[2]
        assert isinstance(enter, nn.Linear)
        assert isinstance(last, nn.Linear)
        latent_weight, action_weight = enter.weight.split([self.latent.dim, action.shape[-1]], dim=1)
        weights = Weights(
            latent_weight,
            cell.weight_ih,
            cell.bias_ih,
            cell.weight_hh,
            cell.bias_hh,
            feature_weight,
            last.weight,
            last.bias,
        )
        entered = F.linear(action, action_weight, enter.bias)
        noise = None if noise is None else noise.transpose(0, 1)
        outputs = GRUWindow.apply(self.latent, noise, entered.transpose(0, 1), embedded.transpose(0, 1), *weights)
        carry, sample, params = (x.transpose(0, 1) for x in outputs)
        return FilteredWindow(torch.cat([carry, sample], dim=-1), carry, params)

    def _by_autograd(
        self, embedded: Tensor, action: Tensor, noise: Tensor | None, feature_weight: Tensor
    ) -> FilteredWindow:
        rest = self.posterior[1:]
        carry = action.new_zeros(len(action), self.recurrence.carry_dim)
        latent = action.new_zeros(len(action), self.latent.dim)
        noises = [None] * action.shape[1] if noise is None else noise.unbind(1)
        rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        # Unbound, because the gradient of each indexed step would be as large as the window.
        for action_t, embedded_t, noise_t in zip(action.unbind(1), embedded.unbind(1), noises, strict=True):
            x = torch.cat([latent, action_t], dim=-1)
            carry = self.recurrence(carry, x)
            features = self.recurrence.features(carry, x)
            params = rest(torch.addmm(embedded_t, features, feature_weight.T))
            latent = self.latent.sample(params, noise_t)
            rows.append((carry, latent, features, params))
        carries, latents, features, params = (torch.stack(x, 1) for x in zip(*rows, strict=True))
        return FilteredWindow(torch.cat([carries, latents], dim=-1), features, params)
