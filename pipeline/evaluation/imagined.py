"""The return that the world model predicts for a policy."""

import torch
from torch import Tensor

from pipeline.imagination import Imagination
from pipeline.policies.protocols import Policy
from pipeline.serving.agent import behavior


@torch.no_grad()
def imagined_returns(
    imagination: Imagination,
    policy: Policy,
    starts: Tensor,
    horizon: int,
    generator: torch.Generator,
    row: Tensor | None = None,
) -> Tensor:
    """Undiscounted imagined return "B" of the policy over ``horizon`` steps from states "B Z", without the penalty.

    Steps after a predicted end count zero. ``row`` "B" are the logged rows of ``starts``, for exogenous values: a
    rollout then lasts as long as the log does. A planner plans at every imagined step, as it does in an environment,
    which is slow: give it few starts.
    """
    future = None if row is None else imagination.future(row, horizon)
    rollout = imagination.rollout(behavior(policy), starts, horizon, generator, future=future)
    return (rollout.reward * rollout.alive).sum(1)
