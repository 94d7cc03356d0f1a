"""The Protocols of a world model that can be trained, assessed and stored. Acting and imagining need less:
:class:`pipeline.protocols.WorldModel`.

``Batch`` is :class:`~pipeline.types.Transitions` where ``recurrent`` is False, with a leading bootstrap axis "L B ..."
in training, and :class:`~pipeline.types.Segments` where it is True.
"""

from typing import Any, ClassVar, Protocol, TypeGuard

import torch
from torch import Generator, Tensor

from pipeline.encoders.statistics import DataSpec
from pipeline.protocols import WorldModel
from pipeline.types import Beliefs, Segments, Shard, TorchModule
from pipeline.world_models.best_weights import CheckpointGroup
from pipeline.world_models.latents import Latent
from pipeline.world_models.termination import Termination

Batch = Any  # Transitions or Segments, depending on ``recurrent``


class ModelConfig(Protocol):
    """The options that training reads for any world model. A frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def learning_rate(self) -> float:
        """Initial learning rate of the optimizer."""


class TrainableWorldModel(WorldModel, TorchModule, Protocol):
    """A torch module that is built from its ``Config`` and the :class:`~pipeline.encoders.statistics.DataSpec` of the
    training split."""

    Config: Any  # a frozen dataclass of options
    decays_learning_rate: bool  # default of ``fit.learning_rate_decay``

    def __init__(self, config: Any, data_spec: DataSpec) -> None: ...

    @property
    def config(self) -> ModelConfig:
        """The options that the model was built with."""

    @property
    def data_spec(self) -> DataSpec:
        """The description of the training split that the model was built with."""

    @property
    def num_bootstraps(self) -> int:
        """Number of batches "L" that one gradient step takes side by side; 1 unless members are trained separately."""

    @property
    def gradient_clip(self) -> float | None:
        """Maximum norm of the gradient over all parameters; None for no limit."""

    def loss(self, batch: Batch, generator: Generator, shard: Shard | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch, and its metrics as detached scalars; ``nll`` is one of them."""

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimizer over all parameters."""

    def checkpoint_groups(self) -> list[CheckpointGroup]:
        """Groups of parameters that keep their best weights separately; the first decides when training stops."""

    def held_out(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over one held-out batch; ``nll`` and ``count`` are two of them. The caller adds up the sums of all
        batches and divides by ``count``."""

    def validation_metrics(self, held_out: dict[str, Tensor]) -> dict[str, Tensor]:
        """Validation metrics from held-out means, with every ``criterion`` of ``checkpoint_groups``."""

    def finalize(self, best: dict[str, Tensor], held_out: list[Batch], train: list[Batch]) -> None:
        """Finish training after the best weights are restored: choose elites, calibrate the termination head.

        ``best`` maps the criterion of each group to the best values of its members "M".
        """

    @property
    def termination(self) -> Termination:
        """Predicts the end of an episode."""

    def termination_used(self) -> str:
        """How episodes end in imagination, in words for the report."""

    def privileged_knowledge(self) -> list[str]:
        """Prior knowledge that was not learned from data."""


class LatentWorldModel(TrainableWorldModel, Protocol):
    """A recurrent world model with a stochastic latent state; ``recurrent`` is True."""

    latent: Latent

    def beliefs(self, windows: Segments) -> Beliefs:
        """Posterior and prior at every frame of windows. Deterministic."""


def is_latent(model: WorldModel) -> TypeGuard[LatentWorldModel]:
    """Whether ``model`` implements :class:`LatentWorldModel`."""
    return model.recurrent
