"""Keep the best weights of each part of a model: those of the epoch with its lowest held-out criterion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CheckpointGroup:
    """Parameters that are selected by one criterion.

    ``criterion`` names a validation metric "M", lower is better, with one entry for each of ``members``. Parameters
    "M ..." are stacked over them, and each keeps its own best. A model whose weights are random has one.
    """

    criterion: str
    members: int
    parameters: Mapping[str, Tensor]

    @classmethod
    def whole(cls, criterion: str, module: nn.Module) -> Self:
        """All parameters of ``module`` as one member."""
        return cls(criterion, 1, {k: p[None] for k, p in module.state_dict(keep_vars=True).items()})


class BestWeights:
    """The best weights of every group so far. The first group decides when training has stopped improving: its
    criterion must fall by the share ``improvement``, those of other groups by any amount."""

    def __init__(self, groups: Callable[[], list[CheckpointGroup]], improvement: float) -> None:
        """``groups`` is a function because a model that moves to another device gets new tensors."""
        self.groups = groups
        self.improvement = improvement
        self.decisive = groups()[0].criterion
        self.scores = {g.criterion: torch.full((g.members,), float("inf")) for g in groups()}
        self.weights = {g.criterion: {k: w.detach().clone() for k, w in g.parameters.items()} for g in groups()}

    @torch.no_grad()
    def update(self, held_out: dict[str, Tensor]) -> bool:
        """Keep the weights that improved on ``held_out``, criterion -> "M"; True when the first group improved."""
        improved = {group.criterion: self._keep(group, held_out) for group in self.groups()}
        return improved[self.decisive]

    def _keep(self, group: CheckpointGroup, held_out: dict[str, Tensor]) -> bool:
        name = group.criterion
        score = held_out[name].detach().cpu().reshape(group.members)
        better = score < self.scores[name] * (1 - (self.improvement if name == self.decisive else 0.0))
        for key, parameter in group.parameters.items():
            on_device = better.to(parameter.device)
            self.weights[name][key] = self.weights[name][key].to(parameter.device)
            self.weights[name][key][on_device] = parameter.detach()[on_device]
        self.scores[name] = torch.where(better, score, self.scores[name])
        return bool(better.any())

    @torch.no_grad()
    def restore(self) -> None:
        """Copy the best weights into the model."""
        for group in self.groups():
            for key, parameter in group.parameters.items():
                parameter.copy_(self.weights[group.criterion][key])

    def state(self) -> dict[str, Any]:
        """Scores and weights, for a resume point."""
        return {"scores": self.scores, "weights": self.weights}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state`. Raises KeyError when a part is missing."""
        self.scores, self.weights = state["scores"], state["weights"]
