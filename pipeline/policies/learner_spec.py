"""What a learner needs to know about its task: sizes, the statistics of the logs and the weight of the penalty."""

import math
from dataclasses import dataclass

from torch import Tensor

from pipeline.encoders.statistics import Statistics

SMALLEST_SPREAD = 1e-3  # of a logged action, whose range is 2


@dataclass(frozen=True)
class LearnerSpec:
    """The task of a learner. Rewards are in the log's own unit; actions lie in [-1, 1], or are one-hot if discrete."""

    state_dim: int
    action_dim: int
    reward_low: float = -math.inf  # of the logged rewards
    reward_high: float = math.inf
    reward_mean: float = 0.0
    reward_std: float = 1.0
    action_std: tuple[float, ...] | None = None  # of the logged actions; None: unknown, taken as 1
    penalty_weight: float = 0.0
    action_kind: str = "continuous"

    @classmethod
    def of(
        cls,
        state_dim: int,
        action_dim: int,
        logs: Statistics,
        action_std: tuple[float, ...] | None = None,
        penalty_weight: float = 0.0,
        action_kind: str = "continuous",
    ) -> "LearnerSpec":
        """The spec with the reward statistics of the logs."""
        rewards = (logs.reward_min, logs.reward_max, logs.reward_mean, logs.reward_std)
        return cls(state_dim, action_dim, *rewards, action_std, penalty_weight, action_kind)


def action_spread(action: Tensor) -> tuple[float, ...]:
    """Standard deviation of logged actions "B A" in each dimension, "A"; at least ``SMALLEST_SPREAD``."""
    return tuple(action.std(0).clamp(min=SMALLEST_SPREAD).tolist())
