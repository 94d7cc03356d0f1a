"""The mathematics of policy learning: pure functions, with time in their names."""

from torch import Tensor


def penalised(reward_t: Tensor, penalty_t: Tensor, weight: float, limit: float) -> Tensor:
    """MOPO's pessimistic reward: reward minus weighted penalty, the penalty counted up to ``limit``."""
    return reward_t - weight * penalty_t.clamp(max=limit)


def td_target(reward_t: Tensor, terminal_t: Tensor, next_value_t: Tensor, discount: float) -> Tensor:
    """One-step bootstrap. Only a true terminal stops it: a time limit or the end of a rollout does not."""
    return reward_t + discount * (1 - terminal_t) * next_value_t
