"""The mathematics of policy learning: pure functions, with time in their names."""

from typing import Annotated

import torch
from torch import Tensor


def pessimistic_reward(reward_t: Tensor, penalty_t: Tensor, weight: float, limit: float) -> Tensor:
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


def logged_mean(error_t: Tensor, logged_t: Tensor) -> Tensor:
    """Mean of "B" over the logged rows ("B", 1.0): how far the policy is from the logged actions is the
    behavior-cloning term of TD3+BC (Fujimoto & Gu 2021, arXiv:2106.06860)."""
    return (error_t * logged_t).sum() / logged_t.sum().clamp(min=1.0)


def conservative_gap(
    policy_value_t: Annotated[Tensor, "N B"], logged_value_t: Annotated[Tensor, "N B"], logged_t: Annotated[Tensor, "B"]
) -> Annotated[Tensor, "N"]:
    """How much more each critic expects of the policy in imagined states than of logged steps (COMBO, Yu et al. 2021,
    arXiv:2102.08363, its first and second expectation). A batch without either kind counts that kind as zero."""
    imagined_t = 1 - logged_t
    policy = (policy_value_t * imagined_t).sum(1) / imagined_t.sum().clamp(min=1)
    return policy - (logged_value_t * logged_t).sum(1) / logged_t.sum().clamp(min=1)


def lambda_return(reward_t: Tensor, discount_t: Tensor, next_value_t: Tensor, trace_t: Tensor) -> Tensor:
    """Rewards summed and bootstrapped at every later step, all "B T" (TD(lambda), Sutton 1988; in imagination, Dreamer,
    Hafner et al. 2020, arXiv:1912.01603).

    R_t = reward_t + discount_t ((1 - trace_t) next_value_t + trace_t R_{t+1}), and R_T = next_value_{T-1}. With trace 0
    it is one reward and the next value, with trace 1 every reward and the last value. ``discount_t`` holds the
    probability that the episode goes on after step t. Gradients pass through all four.
    """
    following, returns = next_value_t[:, -1], []
    for t in reversed(range(reward_t.shape[1])):
        ahead = torch.lerp(next_value_t[:, t], following, trace_t[:, t])
        following = reward_t[:, t] + discount_t[:, t] * ahead
        returns.append(following)
    return torch.stack(returns[::-1], dim=1)


def survival_probability(continue_t: Tensor) -> Tensor:
    """Probability "B T" that an episode gets as far as step t, when it goes on after each with ``continue_t`` "B T"."""
    return torch.cat([torch.ones_like(continue_t[:, :1]), continue_t[:, :-1]], dim=1).cumprod(1)
