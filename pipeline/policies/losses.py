"""The mathematics of policy learning: pure functions, with time in their names."""

import torch
from torch import Tensor


def penalised(reward_t: Tensor, penalty_t: Tensor, weight: float, limit: float) -> Tensor:
    """MOPO's pessimistic reward: reward minus weighted penalty, the penalty counted up to ``limit``."""
    return reward_t - weight * penalty_t.clamp(max=limit)


def absorbing_value(penalty_t: Tensor, weight: float, limit: float, discount: float) -> Tensor:
    """The value after a terminal step: its penalty, paid for ever; zero for a logged step, whose penalty is zero.

    With value zero a predicted death would end all further penalties, so a policy under heavy pessimism would seek it.
    """
    return -weight * penalty_t.clamp(max=limit) / (1 - discount)


def td_target(
    reward_t: Tensor, terminal_t: Tensor, next_value_t: Tensor, terminal_value_t: Tensor, discount: float
) -> Tensor:
    """One-step bootstrap, from ``terminal_value_t`` after a true terminal; a time limit or a rollout's end is none."""
    return reward_t + discount * torch.where(terminal_t.bool(), terminal_value_t, next_value_t)
