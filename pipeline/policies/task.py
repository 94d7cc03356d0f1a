"""What the logs and params.yaml tell every learner, whether it needs it or not."""

import math
from dataclasses import dataclass

from pipeline.encoders.statistics import Statistics


@dataclass(frozen=True)
class LearnerSpec:
    """Rewards are in the log's own unit, actions in [-1, 1], or one-hot where they are discrete."""

    state_dim: int
    action_dim: int
    reward_low: float = -math.inf  # of the logged rewards
    reward_high: float = math.inf
    reward_mean: float = 0.0
    reward_std: float = 1.0
    action_std: tuple[float, ...] | None = None  # of the logged actions; None: not known, taken as 1
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
        rewards = (logs.reward_min, logs.reward_max, logs.reward_mean, logs.reward_std)
        return cls(state_dim, action_dim, *rewards, action_std, penalty_weight, action_kind)
