"""The encoder that normalizes vector observations."""

import math
from dataclasses import dataclass

import torch
from pydantic import with_config
from torch import Tensor, nn

from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.types import Observation
from pipeline.validation import OPTIONS


@with_config(OPTIONS)
@dataclass(frozen=True)
class StandardConfig:
    """The standard encoder has no options."""


class StandardEncoder(nn.Module):
    """A Markov encoder: the state is the flat observation with mean 0 and standard deviation 1 in the logs. Keys are
    concatenated in sorted order; images are left out."""

    Config = StandardConfig
    stateful = False

    def __init__(self, obs_shapes: dict[str, list[int]], statistics: Statistics) -> None:
        super().__init__()
        self.config = StandardConfig()
        self.obs_shapes = {k: s for k, s in sorted(obs_shapes.items()) if len(s) < 3}
        self.state_dim = self.current_dim = len(statistics.obs_mean)
        # Not persistent: the statistics are saved beside the weights as readable JSON.
        self.register_buffer("mean", torch.tensor(statistics.obs_mean), persistent=False)
        self.register_buffer("std", torch.tensor(statistics.obs_std), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @classmethod
    def from_data(cls, config: StandardConfig, data: DataSpec) -> "StandardEncoder":
        """The encoder for logs like ``data``."""
        return cls(data.obs_shapes, data.statistics)

    def encode(self, flat_obs: Tensor) -> Tensor:
        """Flat observation "... O" in the log's own units -> state "... Z"."""
        return (flat_obs - self.mean) / self.std

    def initial(self, batch: int) -> Tensor:
        """Zeros "B Z"; the first observation replaces them."""
        return torch.zeros(batch, self.state_dim, device=self.mean.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state "B Z" of ``obs``; ``state``, ``action`` and ``first`` are ignored."""
        return self.encode(self.flat(obs))

    def flat(self, obs: Observation) -> Tensor:
        """The vectors of ``obs`` side by side, "... O", in the log's own units."""
        axes = [-len(shape) for shape in self.obs_shapes.values()]
        return torch.cat([obs[k].flatten(axis) for k, axis in zip(self.obs_shapes, axes, strict=True)], dim=-1)

    def current_obs(self, state: Tensor) -> Tensor:
        """The normalized observation "... O" in states "... Z": here the whole state."""
        return state

    def advance(self, state: Tensor, action: Tensor, current: Tensor) -> Tensor:
        """The state after a step to the normalized observation ``current`` "... O": that observation itself."""
        return current

    def decode(self, state: Tensor) -> Observation:
        """The observations of states "... Z", in the log's own units."""
        flat = state * self.std + self.mean
        sizes = [math.prod(shape) for shape in self.obs_shapes.values()]
        parts = flat.split(sizes, dim=-1)
        return {k: p.unflatten(-1, tuple(s)) for (k, s), p in zip(self.obs_shapes.items(), parts, strict=True)}
