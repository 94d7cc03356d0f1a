"""A probabilistic ensemble of Gaussian networks (PETS, Chua et al. 2018; as used by MOPO, Yu et al. 2020)."""

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
    """Members that never see each other: each learns from a batch of its own."""

    def __init__(self, members: int, sizes: list[int], decays: list[float]) -> None:
        super().__init__(*stacked_mlp(members, sizes, decays))
        self.num_bootstraps = self.members = members

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """What it predicts: nothing is drawn."""
        return self(x)  # type: ignore[no-any-return]

    def divergence(self) -> None:
        """Weights are not random."""


class GaussianEnsemble(GaussianModel):
    """Members trained apart; those of least held-out error are drawn from."""

    Config = EnsembleConfig

    def __init__(self, config: EnsembleConfig, facts: DataSpec) -> None:
        ramp = torch.linspace(0.25, 1.0, config.depth + 1) * config.weight_decay
        super().__init__(config, facts, lambda sizes: EnsembleNetwork(config.members, sizes, ramp.tolist()))
        self.register_buffer("elite_members", torch.arange(config.elites))

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """An ensemble is its own set of weight samples; nothing is drawn."""
        return self

    def finalize(self, best: dict[str, Tensor], held_out: list[Transitions], train: list[Transitions]) -> None:
        """Choose the elites and calibrate the termination head, once the best weights are back.

        Elites by held-out error: training error prefers the member that overfits.
        """
        self.elites.copy_(best[self.config.criterion].argsort()[: self.config.elites])
        self.calibrate(held_out, train)
