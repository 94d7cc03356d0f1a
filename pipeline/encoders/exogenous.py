"""Exogenous features: inputs such as the weather that no action changes. Models read them and never predict them."""

import torch
from torch import Tensor, nn

from pipeline.encoders.statistics import Statistics, measured_features


class Exogenous(nn.Module):
    """Places of the exogenous features "X" and of the flagged ones among the features "O" of an observation."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.size = len(statistics.exogenous)
        self.features = len(statistics.obs_mean)
        self.flags = dict(statistics.flags)
        index = torch.tensor(statistics.exogenous, dtype=torch.long)
        scale = {"mean": torch.tensor(statistics.obs_mean)[index], "std": torch.tensor(statistics.obs_std)[index]}
        for name, value in {"index": index, **scale}.items():
            self.register_buffer(name, value, persistent=False)
        self.index: Tensor
        self.mean: Tensor
        self.std: Tensor

    def of(self, flat_obs: Tensor) -> Tensor:
        """Normalized exogenous values "... X" in observations "... O" in the log's own units."""
        return (flat_obs[..., self.index] - self.mean) / self.std

    def replace(self, current: Tensor, inputs: Tensor) -> Tensor:
        """Normalized observations "B O" with the exogenous values ``inputs`` "B X"."""
        return current.index_copy(-1, self.index, inputs)

    def measured(self, inputs: Tensor) -> Tensor:
        """Which features "B O" are measured where the exogenous values are ``inputs`` "B X", 1.0 or 0.0."""
        raw = inputs.new_ones(*inputs.shape[:-1], self.features)
        raw[..., self.index] = inputs * self.std + self.mean
        return measured_features(raw, self.flags).to(inputs)
