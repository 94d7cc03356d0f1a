"""Offline policy evaluation: the value of a policy from logs and a world model, without an environment.

Every estimate is of the discounted return from the first observations of held-out episodes. ``per_step`` is the same
value as an average reward, which makes all estimates comparable: (1 - discount) times the value of an endless task, or
the discounted mean of the observed steps where a log or an imagined rollout is cut.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass

from pipeline.uncertainty import MEASURES
from pipeline.validation import (
    OPTIONS,
    Fraction,
    Horizon,
    LearningRate,
    Members,
    NonNegativeFloat,
    OneOf,
    OpenFraction,
    PositiveInt,
    SmallCount,
    Widths,
)


@dataclass(frozen=True, config=OPTIONS)
class OfflineConfig:
    """The block ``offline`` of params.yaml."""

    discount: OpenFraction = 0.99  # discount of the estimated value
    starts: PositiveInt = 200  # held-out episodes at most, whose first observations are evaluated
    bootstrap: SmallCount = 2000  # resamples behind every confidence interval
    updates: PositiveInt = 3000  # gradient updates of fitted Q evaluation
    critics: Members = 5  # critics of fitted Q evaluation, each on a bootstrap of the training episodes
    hidden: Widths = field(default_factory=lambda: [64, 64])  # widths of the critics' hidden layers
    batch_size: PositiveInt = 256  # logged steps in one gradient update
    learning_rate: LearningRate = 1e-3  # learning rate of the critics
    target_rate: Fraction = 0.05  # rate of the moving average that makes the target critics
    loss: Literal["huber", "squared"] = "huber"  # loss of fitted Q evaluation
    rows: PositiveInt = 200_000  # training transitions of fitted Q evaluation at most
    planned_rows: PositiveInt = 1000  # the same for a planner, whose actions are slow to compute
    horizon: Horizon | None = None  # imagined steps; null: as long as the longest held-out episode
    planned_starts: PositiveInt = 8  # imagined held-out starts for a planner
    penalty: Annotated[str, OneOf(MEASURES)] = "ensemble_std"  # penalty of the pessimistic value in imagination
    penalty_weight: NonNegativeFloat = 1.0  # weight of this penalty
    density_updates: PositiveInt = 2000  # updates of the logged behavior's density, for importance weighting
    least_ess: NonNegativeFloat = 5.0  # effective episodes below which importance weighting gives no estimate
