"""What the world model promises of a policy."""

import torch
from torch import Tensor

from pipeline.imagination import Imagination
from pipeline.interfaces import PolicyLearner


@torch.no_grad()
def imagined_returns(
    imagination: Imagination, learner: PolicyLearner, starts: Tensor, horizon: int, generator: torch.Generator
) -> Tensor:
    """Undiscounted imagined return "B" of the policy's mode over ``horizon`` steps from states "B Z", penalty left out.
    Steps after a predicted end count nothing."""
    rollout = imagination.rollout(lambda s, t, g: learner.act(s, None), starts, horizon, generator)
    return (rollout.reward * rollout.alive).sum(1)
