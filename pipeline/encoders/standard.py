"""The encoder that makes vector observations comparable."""

import math

import torch
from torch import Tensor, nn

from pipeline.encoders.statistics import Statistics
from pipeline.types import Observation


class StandardEncoder(nn.Module):
    """A Markov filter: the state is the normalized flat observation. Keys are concatenated in sorted order; images
    are left out."""

    stateful = False

    def __init__(self, obs_shapes: dict[str, list[int]], statistics: Statistics) -> None:
        super().__init__()
        self.obs_shapes = {k: s for k, s in sorted(obs_shapes.items()) if len(s) < 3}
        self.state_dim = self.current_dim = len(statistics.obs_mean)
        # Not persistent: the statistics are saved as JSON beside the weights, readable by people.
        self.register_buffer("mean", torch.tensor(statistics.obs_mean), persistent=False)
        self.register_buffer("std", torch.tensor(statistics.obs_std), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def encode(self, flat_obs: Tensor) -> Tensor:
        """Flat raw observation "B O" -> state "B Z"."""
        return (flat_obs - self.mean) / self.std

    def initial(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.state_dim, device=self.mean.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state of a Markov model is what is seen now; ``state``, ``action`` and ``first`` do not matter."""
        return self.encode(self.flat(obs))

    def flat(self, obs: Observation) -> Tensor:
        """All keys side by side, "... O"."""
        axes = [-len(shape) for shape in self.obs_shapes.values()]
        return torch.cat([obs[k].flatten(axis) for k, axis in zip(self.obs_shapes, axes, strict=True)], dim=-1)

    def current_obs(self, state: Tensor) -> Tensor:
        """The normalized observation in states: all of them."""
        return state

    def advance(self, state: Tensor, action: Tensor, present: Tensor) -> Tensor:
        """The state once ``action`` in ``state`` led to the normalized observation ``present`` "... Z"."""
        return present

    def decode(self, state: Tensor) -> Observation:
        flat = state * self.std + self.mean
        sizes = [math.prod(shape) for shape in self.obs_shapes.values()]
        parts = flat.split(sizes, dim=-1)
        return {k: p.unflatten(-1, tuple(s)) for (k, s), p in zip(self.obs_shapes.items(), parts, strict=True)}
