"""Model-based value: what each member of the world model promises, imagined from held-out first observations with that
member alone (TS-infinity, Chua et al. 2018, arXiv:1805.12114), with and without its penalty taken off."""

from typing import Any

import torch
from einops import rearrange, repeat
from torch import Generator, Tensor

from pipeline.imagination import Imagination, rows_at_once
from pipeline.ope.evaluated_policy import EvaluatedPolicy
from pipeline.protocols import Penalty, first_state
from pipeline.types import Observation


class GivenMembers:
    """``model`` with the member of every row given instead of drawn."""

    def __init__(self, model: Any, member: Tensor) -> None:
        self._model, self._member = model, member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample_members(self, generator: Generator, count: int | None = None) -> "GivenMembers":
        """Itself: the members that are given are those of the samples it holds."""
        return self

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        return self._member


@torch.no_grad()
def imagined_rewards(
    judged: EvaluatedPolicy, obs: Observation, horizon: int, penalty: Penalty, weight: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Rewards "M N T" of ``horizon`` steps from N first observations in each of the M elites, and the same less
    ``weight`` times the penalty. Steps after a predicted end count zero."""
    model = judged.model.sample_members(generator, len(judged.model.elites))
    count = len(next(iter(obs.values())))
    member = repeat(model.elites, "m -> (m n)", n=count)
    rows = torch.arange(count).repeat(len(model.elites))
    pieces = []
    size = rows_at_once(member)
    for some, which in zip(rows.split(size), member.split(size), strict=True):
        seen = {key: value[some] for key, value in obs.items()}
        start = first_state(model, seen, model.action_dim)
        imagination = Imagination(GivenMembers(model, which), penalty)  # type: ignore[arg-type]
        rollout = imagination.rollout(judged.actor(seen), start, horizon, generator, fixed_member=True)
        pieces.append(torch.stack([rollout.reward, rollout.reward - weight * rollout.penalty]) * rollout.alive)
    both = rearrange(torch.cat(pieces, dim=1), "two (m n) t -> two m n t", n=count).double()
    return both[0], both[1]
