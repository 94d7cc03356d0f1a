"""What a policy is worth, estimated from logs and a world model, without an environment.

Every estimate speaks of the discounted return from the first observations of held-out episodes. Beside it stands
``per_step``, the same as an average reward: (1 - discount) times the value of an endless task, and the discounted
mean of the steps that were seen where a log or an imagined rollout is cut, so that all of them can be compared.
"""

from dataclasses import dataclass, field

from pipeline.uncertainty import MEASURES

LOSSES = ("huber", "squared")


@dataclass(frozen=True)
class OfflineConfig:
    """The ``offline`` block of params.yaml."""

    discount: float = 0.99
    starts: int = 200  # held-out episodes from whose first observation is judged, at most
    bootstrap: int = 2000  # resamples behind every interval
    # fitted Q evaluation
    updates: int = 3000
    critics: int = 5  # each on a bootstrap of the training episodes
    hidden: list[int] = field(default_factory=lambda: [64, 64])
    batch_size: int = 256
    learning_rate: float = 1e-3
    target_rate: float = 0.05  # moving average of the slow critics
    loss: str = "huber"  # or squared
    rows: int = 200_000  # training transitions at most
    planned_rows: int = 1000  # the same for a policy that plans, whose actions are dear
    # imagination
    horizon: int | None = None  # steps; null: as long as the longest held-out episode
    planned_starts: int = 8  # held-out starts for a policy that plans
    penalty: str = "ensemble_std"  # of the pessimistic value
    penalty_weight: float = 1.0
    # importance weighting
    density_updates: int = 2000  # of the logged behavior's density
    least_ess: float = 5.0  # effective episodes below which there is no estimate

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ValueError(f"discount {self.discount} must lie between 0 and 1")
        counts = ("starts", "bootstrap", "updates", "critics", "batch_size", "rows", "planned_rows", "planned_starts")
        for name in (*counts, "density_updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.loss not in LOSSES or self.penalty not in MEASURES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; penalty one of {', '.join(MEASURES)}")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"horizon {self.horizon} must be at least 1, or null")
