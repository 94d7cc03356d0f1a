"""Model-based value: the return that each member of the world model predicts.

Rollouts start at held-out first observations and stay with one member (TS-infinity, Chua et al. 2018,
arXiv:1805.12114). Rewards are given with and without the penalty subtracted.
"""

from typing import cast

import torch
from einops import rearrange, repeat
from torch import Generator, Tensor

from pipeline.imagination import Imagination, rows_at_once
from pipeline.ope.evaluated_policy import EvaluatedPolicy
from pipeline.protocols import Penalty, WorldModel, first_state
from pipeline.types import Future, Observation
from pipeline.validation.pace import paced


class GivenMembers:
    """``model`` with a given member for every row instead of a drawn one."""

    def __init__(self, model: WorldModel, member: Tensor) -> None:
        self._model, self._member = model, member

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def sample_members(self, generator: Generator, count: int | None = None) -> "GivenMembers":
        """Itself: the given members already are samples."""
        return self

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """The given members "B"."""
        return self._member


@torch.no_grad()
def imagined_rewards(
    evaluated: EvaluatedPolicy,
    obs: Observation,
    horizon: int,
    penalty: Penalty,
    weight: float,
    generator: Generator,
    future: Future | None = None,
) -> tuple[Tensor, Tensor]:
    """Rewards "M N T" of ``horizon`` steps from N first observations in each of the M elites, and the same rewards less
    ``weight`` times the penalty. Steps after a predicted end, and after the end of ``future``, count zero."""
    model = evaluated.model.sample_members(generator, len(evaluated.model.elites))
    count = len(next(iter(obs.values())))
    member = repeat(model.elites, "m -> (m n)", n=count)
    rows = torch.arange(count).repeat(len(model.elites))
    pieces = []
    size = rows_at_once(member)
    chunks = list(zip(rows.split(size), member.split(size), strict=True))
    for chunk, members in paced(chunks, "imagined returns: {} parts", len(chunks)):
        first_obs = {key: value[chunk] for key, value in obs.items()}
        start = first_state(model, first_obs, model.action_dim)
        imagination = Imagination(cast(WorldModel, GivenMembers(model, members)), penalty)
        given = None if future is None else future[chunk]
        actor = evaluated.actor(first_obs)
        rollout = imagination.rollout(actor, start, horizon, generator, fixed_member=True, future=given)
        pieces.append(torch.stack([rollout.reward, rollout.reward - weight * rollout.penalty]) * rollout.alive)
    both = rearrange(torch.cat(pieces, dim=1), "two (m n) t -> two m n t", n=count).double()
    return both[0], both[1]
