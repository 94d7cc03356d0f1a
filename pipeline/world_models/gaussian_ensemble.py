"""A probabilistic ensemble of Gaussian networks (PETS, Chua et al. 2018, arXiv:1805.12114; used by MOPO, Yu et al.
2020, arXiv:2005.13239)."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor, nn

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.mlp import stacked_mlp
from pipeline.types import Shard, Transitions
from pipeline.world_models.gaussian import GaussianConfig, GaussianModel


@dataclass(frozen=True)
class EnsembleConfig(GaussianConfig):
    members: int = 7
    elites: int = 5  # the members of lowest held-out error; only these are drawn from
    weight_decay: float = 1e-4  # of the last layer; earlier layers ramp down to a quarter, as in PETS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.elites <= self.members:
            raise ValueError(f"elites {self.elites} must lie between 1 and members {self.members}")


class EnsembleNetwork(nn.Sequential):
    """Independent members: each is trained on its own batches."""

    def __init__(self, members: int, sizes: list[int], decays: list[float]) -> None:
        super().__init__(*stacked_mlp(members, sizes, decays))
        self.members = members
        self.num_bootstraps = members

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """The same as prediction, "M B X" -> "M B Y"; nothing is drawn."""
        return self(x)

    def divergence(self) -> None:
        """None: weights are not random."""


class GaussianEnsemble(GaussianModel):
    """Independently trained members; rollouts sample those with the lowest held-out error, the elites."""

    Config = EnsembleConfig
    config: EnsembleConfig
    net: EnsembleNetwork

    def __init__(self, config: EnsembleConfig, data_spec: DataSpec) -> None:
        decays = torch.linspace(0.25, 1.0, config.depth + 1) * config.weight_decay
        super().__init__(config, data_spec, lambda sizes: EnsembleNetwork(config.members, sizes, decays.tolist()))
        self.register_buffer("elite_members", torch.arange(config.elites))

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """This model: its members are its weight samples, and nothing is drawn."""
        return self

    def finalize(self, best: dict[str, Tensor], held_out: list[Transitions], train: list[Transitions]) -> None:
        """Choose the elites and calibrate the termination head with the best weights."""
        # By held-out error, because training error prefers the member that overfits.
        self.elites.copy_(best[self.config.criterion].argsort()[: self.config.elites])
        self.calibrate(held_out, train)
