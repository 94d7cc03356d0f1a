"""Encoder and decoder of observations: perceptrons for vectors, convolutions for images.

Leading axes are free. Vectors are normalized, then transformed by symlog, so that rare outliers do not dominate the
loss. Images are uint8 "H W C" and are scaled on the device.
"""

import math

import torch
from torch import Tensor, nn

from pipeline.encoders.exogenous import Exogenous
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import Statistics
from pipeline.networks.conv import ImageDecoder, ImageEncoder
from pipeline.networks.distributions import symexp, symlog
from pipeline.networks.mlp import mlp
from pipeline.types import Observation


class Observations(nn.Module):
    """What encoder and decoder share: which keys are vectors and which are images, and the scale of the vectors."""

    def __init__(self, obs_shapes: dict[str, list[int]], statistics: Statistics) -> None:
        super().__init__()
        self.images = {k: s for k, s in sorted(obs_shapes.items()) if len(s) == 3}
        self.standard = StandardEncoder(obs_shapes, statistics)
        self.exogenous = Exogenous(statistics)
        self.vector_dim = self.standard.state_dim
        constant = torch.tensor([i not in statistics.active for i in range(self.vector_dim)], dtype=torch.bool)
        self.register_buffer("constant", constant, persistent=False)
        predicted = [i for i in statistics.active if i not in statistics.exogenous]
        self.register_buffer("predicted", torch.tensor(predicted, dtype=torch.long), persistent=False)
        self.constant: Tensor
        self.predicted: Tensor

    def normalized(self, obs: Observation) -> Tensor:
        """All vectors side by side, normalized: "... O"."""
        return self.standard.encode(self.standard.flat(obs))

    def inputs(self, obs: Observation) -> Tensor:
        """The exogenous values, normalized: "... X"."""
        if not self.exogenous.size:
            some = next(iter(obs.items()))
            lead = some[1].shape[: -3 if some[0] in self.images else -1]
            return torch.zeros(*lead, 0, device=some[1].device)
        return self.exogenous.of(self.standard.flat(obs))

    def squashed(self, obs: Observation) -> Tensor:
        """All vectors side by side, normalized and transformed by symlog: "... O"."""
        return symlog(self.normalized(obs))

    def unsquashed(self, squashed: Tensor) -> Tensor:
        """The inverse of symlog: normalized vectors "... O". Constant features keep their only value."""
        return symexp(squashed).masked_fill(self.constant, 0.0)


class Encoder(nn.Module):
    """Observations "... O" and "... H W C" -> embedding "... E"."""

    def __init__(self, observations: Observations, width: int, depth: int) -> None:
        super().__init__()
        self.observations = observations
        self.vectors = mlp([observations.vector_dim, width, width], nn.SiLU) if observations.vector_dim else None
        encoders = {k: ImageEncoder(s, depth) for k, s in observations.images.items()}
        self.images = nn.ModuleDict(encoders)
        self.embed_dim = sum(encoder.embed_dim for encoder in encoders.values()) + (width if self.vectors else 0)

    def forward(self, obs: Observation) -> Tensor:
        """Observations, each "... O" or "... H W C" -> embedding "... E"."""
        parts = [] if self.vectors is None else [self.vectors(self.observations.squashed(obs))]
        for key, encoder in self.images.items():
            lead = obs[key].shape[:-3]
            parts.append(encoder(obs[key].flatten(0, len(lead) - 1)).unflatten(0, lead))
        return torch.cat(parts, dim=-1)


class Decoder(nn.Module):
    """State features "... F" -> observations, and their likelihood. The features end with the exogenous values."""

    def __init__(
        self, observations: Observations, features: int, width: int, depth: int, vector_std: float, image_std: float
    ) -> None:
        super().__init__()
        self.observations = observations
        self.vector_std = vector_std
        self.image_std = image_std
        dim = observations.vector_dim
        self.vectors = mlp([features, width, width, dim], nn.SiLU) if dim else None
        self.images = nn.ModuleDict({k: ImageDecoder(features, s, depth) for k, s in observations.images.items()})
        self.current_dim = features if observations.images else dim

    def forward(self, features: Tensor) -> Observation:
        """Features "... F" -> observations in the environment's own units; images are float in [0, 255]."""
        obs = {} if self.vectors is None else self.decode(features)
        for key, decoder in self.images.items():
            obs[key] = (self._image(decoder, features) + 0.5).clamp(0, 1) * 255
        return obs

    def current_obs(self, features: Tensor) -> Tensor:
        """Input of the termination head: the normalized vectors "... O", or features "... F" if there are images."""
        return features if self.observations.images else self._normalized(features)

    def decode(self, features: Tensor) -> Observation:
        """The vectors alone, in the environment's own units. The observations must hold at least one."""
        return self.observations.standard.decode(self._normalized(features))

    def _normalized(self, features: Tensor) -> Tensor:
        assert self.vectors is not None
        exogenous = self.observations.exogenous
        decoded = self.observations.unsquashed(self.vectors(features))
        return exogenous.replace(decoded, features[..., features.shape[-1] - exogenous.size :])

    def loss(self, features: Tensor, obs: Observation) -> Tensor:
        """Negative log-likelihood "..." of ``obs`` in nats, up to a constant, summed over vector entries and pixels.
        The normals have standard deviation ``vector_std`` in symlog space and ``image_std`` for scaled pixels."""
        total = torch.zeros(features.shape[:-1], device=features.device)
        if self.vectors is not None:
            error = self.vectors(features) - self.observations.squashed(obs)
            if self.observations.exogenous.flags:
                error = error * self.observations.exogenous.measured(self.observations.inputs(obs))
            error = error.index_select(-1, self.observations.predicted)
            total = total + 0.5 * (error / self.vector_std).square().sum(-1)
        for key, decoder in self.images.items():
            target = obs[key].float() / 255 - 0.5
            error = (self._image(decoder, features) - target) / self.image_std
            total = total + 0.5 * error.square().sum((-3, -2, -1))
        return total

    def _image(self, decoder: nn.Module, features: Tensor) -> Tensor:
        lead = features.shape[:-1]
        return decoder(features.reshape(math.prod(lead), -1)).unflatten(0, lead)
