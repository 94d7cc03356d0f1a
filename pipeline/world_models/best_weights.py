"""Which weights to keep: each part of a model at the epoch where its own held-out number was least."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CheckpointGroup:
    """Parameters judged together. ``criterion`` names the held-out number, one for each of ``members``; parameters
    "M ..." are stacked over them, or belong to the single member as a whole."""

    criterion: str
    members: int
    parameters: Mapping[str, Tensor]

    @classmethod
    def whole(cls, criterion: str, module: nn.Module) -> Self:
        """All of a module as one member."""
        return cls(criterion, 1, {k: p[None] for k, p in module.state_dict(keep_vars=True).items()})


class BestWeights:
    """The best of every part so far. The first part decides when training has stopped improving: it must get better by
    the share ``improvement``, other parts by anything."""

    def __init__(self, parts: Callable[[], list[CheckpointGroup]], improvement: float) -> None:
        self.parts, self.improvement = (
            parts,
            improvement,
        )  # a function, since moving a model to a device moves its weights
        self.decisive = parts()[0].criterion
        self.scores = {p.criterion: torch.full((p.members,), float("inf")) for p in parts()}
        self.weights = {p.criterion: {k: w.detach().clone() for k, w in p.parameters.items()} for p in parts()}

    @torch.no_grad()
    def update(self, held_out: dict[str, Tensor]) -> bool:
        """Keep what got better; True when the first part did."""
        improved = {part.criterion: self._keep(part, held_out) for part in self.parts()}
        return improved[self.decisive]

    def _keep(self, part: CheckpointGroup, held_out: dict[str, Tensor]) -> bool:
        name, score = part.criterion, held_out[part.criterion].detach().cpu().reshape(part.members)
        better = score < self.scores[name] * (1 - (self.improvement if name == self.decisive else 0.0))
        for key, parameter in part.parameters.items():
            keep = better.to(parameter.device)
            self.weights[name][key] = self.weights[name][key].to(parameter.device)
            self.weights[name][key][keep] = parameter.detach()[keep]
        self.scores[name] = torch.where(better, score, self.scores[name])
        return bool(better.any())

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back into the model."""
        for part in self.parts():
            for key, parameter in part.parameters.items():
                parameter.copy_(self.weights[part.criterion][key])

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores, "weights": self.weights}

    def load_state(self, state: dict[str, Any]) -> None:
        self.scores, self.weights = state["scores"], state["weights"]
