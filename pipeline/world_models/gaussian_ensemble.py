"""A probabilistic ensemble of Gaussian networks (PETS, Chua et al. 2018, arXiv:1805.12114; used by MOPO, Yu et al.
2020, arXiv:2005.13239)."""

from typing import Self

import torch
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.mlp import stacked_mlp
from pipeline.types import Shard, Transitions
from pipeline.validation import OPTIONS, Members, NonNegativeFloat
from pipeline.world_models.gaussian import GaussianModel
from pipeline.world_models.gaussian_config import GaussianConfig


@dataclass(frozen=True, config=OPTIONS)
class EnsembleConfig(GaussianConfig):
    """Options of ``world_model.name: gaussian_ensemble``."""

    members: Members = 7  # networks that are trained independently
    elites: Members = 5  # members of lowest held-out error; imagination draws from these alone
    weight_decay: NonNegativeFloat = 1e-4  # weight decay of the last layer; a quarter of it in the first, as in PETS

    @model_validator(mode="after")
    def _elites_are_members(self) -> Self:
        if self.elites > self.members:
            raise ValueError(f"elites {self.elites} must be at most members {self.members}")
        return self


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
