"""Losses and targets of policy learning as pure functions. A suffix ``_t`` marks a quantity of step t."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.types import Transitions


def pessimistic_reward(reward_t: Tensor, penalty_t: Tensor, weight: float, limit: float) -> Tensor:
    """Reward minus ``weight`` times the penalty, which is clamped to ``limit`` (MOPO, Yu et al. 2020,
    arXiv:2005.13239). Any shape."""
    return reward_t - weight * penalty_t.clamp(max=limit)


def absorbing_value(penalty_t: Tensor, weight: float, limit: float, discount: float) -> Tensor:
    """The value after a terminal step: its penalty, paid forever. It is zero for logged steps, which have no penalty.

    With a value of zero, early termination would avoid all later penalties, so a heavily penalized policy would seek
    it. Any shape.
    """
    return -weight * penalty_t.clamp(max=limit) / (1 - discount)


def td_target(
    reward_t: Tensor, terminal_t: Tensor, next_value_t: Tensor, terminal_value_t: Tensor, discount: float
) -> Tensor:
    """One-step temporal-difference target. After a true terminal it bootstraps from ``terminal_value_t``.

    Time limits and the last steps of rollouts are not terminals. Any shape.
    """
    return reward_t + discount * torch.where(terminal_t.bool(), terminal_value_t, next_value_t)


def expectile_loss(error: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error of ``error``, target minus estimate: weight ``expectile`` where the target is above the
    estimate, one minus that where it is below (Newey & Powell 1987). At 0.5 it is half the squared error. Any shape."""
    return torch.where(error > 0, expectile, 1 - expectile) * error.square()


def followed(batch: Transitions) -> Annotated[Tensor, "B"]:
    """1.0 where the next row of ``batch`` is the next step of the same imagined rollout: it starts in the state where
    this one ends. Ends and logged steps are not followed."""
    same = (batch.next_state[:-1] == batch.state[1:]).all(-1) & (batch.logged[:-1] + batch.logged[1:] == 0)
    goes_on = (1 - batch.terminal[:-1]) * (1 - batch.halted[:-1])
    return F.pad(same * goes_on, (0, 1))


def chained_return(
    target_t: Annotated[Tensor, "B"],
    next_value_t: Annotated[Tensor, "B"],
    followed_t: Annotated[Tensor, "B"],
    discounted_lambda: float,
) -> Annotated[Tensor, "B"]:
    """Lambda-returns of rows that follow one another, from their one-step targets.

    R_i = target_i + discounted_lambda followed_i (R_{i+1} - next_value_i), where ``discounted_lambda`` is the discount
    times lambda; the last row is not followed. Over whole rollouts it equals :func:`lambda_return`. The recursion is
    linear, so log2(B) parallel steps suffice (Hillis & Steele 1986).
    """
    carry = discounted_lambda * followed_t
    returns = target_t - carry * next_value_t
    for step in (2**k for k in range((len(returns) - 1).bit_length())):
        returns = returns + carry * F.pad(returns[step:], (0, step))
        carry = carry * F.pad(carry[step:], (0, step))
    return returns


def logged_mean(error_t: Tensor, logged_t: Tensor) -> Tensor:
    """Mean of "B" over the rows where ``logged_t`` "B" is 1.0; zero if there are none.

    Over imitation losses, it is the behavior-cloning term of TD3+BC (Fujimoto & Gu 2021, arXiv:2106.06860).
    """
    return (error_t * logged_t).sum() / logged_t.sum().clamp(min=1.0)


def conservative_gap(
    policy_value_t: Annotated[Tensor, "N B"], logged_value_t: Annotated[Tensor, "N B"], logged_t: Annotated[Tensor, "B"]
) -> Annotated[Tensor, "N"]:
    """The value of the policy in imagined states minus the value of logged steps, for each critic (the first and
    second expectation of COMBO, Yu et al. 2021, arXiv:2102.08363). A mean over no rows is zero."""
    imagined_t = 1 - logged_t
    policy = (policy_value_t * imagined_t).sum(1) / imagined_t.sum().clamp(min=1)
    return policy - (logged_value_t * logged_t).sum(1) / logged_t.sum().clamp(min=1)


def lambda_return(reward_t: Tensor, discount_t: Tensor, next_value_t: Tensor, lambda_t: Tensor) -> Tensor:
    """Lambda-returns R_t, all "B T" (TD(lambda), Sutton 1988; in imagination, Dreamer, Hafner et al. 2020,
    arXiv:1912.01603).

    R_t = reward_t + discount_t ((1 - lambda_t) next_value_t + lambda_t R_{t+1}), and R_T = next_value_{T-1}. With
    lambda 0 it is one reward plus the next value; with lambda 1 it is all rewards plus the last value. ``discount_t``
    includes the probability that the episode continues after step t. Gradients flow through all four arguments.
    """
    lambda_return_t = next_value_t[:, -1]
    returns = []
    for t in reversed(range(reward_t.shape[1])):
        next_return = torch.lerp(next_value_t[:, t], lambda_return_t, lambda_t[:, t])
        lambda_return_t = reward_t[:, t] + discount_t[:, t] * next_return
        returns.append(lambda_return_t)
    return torch.stack(returns[::-1], dim=1)


def survival_probability(continue_t: Tensor) -> Tensor:
    """Probability "B T" that an episode reaches step t, if it continues after each step with probability
    ``continue_t`` "B T"."""
    return torch.cat([torch.ones_like(continue_t[:, :1]), continue_t[:, :-1]], dim=1).cumprod(1)
