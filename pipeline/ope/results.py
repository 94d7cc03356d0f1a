"""What ``data/offline/seed-K.json`` and ``reports/metrics/offline.json`` hold.

Values are discounted, in units of reward; ``low`` and ``high`` bound ``value``, and ``per_step`` is the same value as
an average reward per step.
"""

from dataclasses import dataclass

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class TrueValue:
    """Means over real episodes of one policy."""

    return_mean: float  # undiscounted
    value: float  # discounted


@dataclass(frozen=True)
class Estimate:
    """A discounted value, its interval, and the value as a reward per step."""

    value: float
    low: float
    high: float
    per_step: float


@dataclass(frozen=True)
class LoggedValue(Estimate):
    """The held-out episodes as they were logged; the interval is the 95 % bootstrap over episodes."""

    return_mean: float  # undiscounted
    episodes: int


@dataclass(frozen=True)
class FQEEstimate(Estimate):
    """Fitted Q evaluation; the interval is the 95 % bootstrap over training episodes and starts."""

    critics: list[float]  # value by critic
    drift: float  # of the value over the last tenth of the updates
    clamped: float  # share of targets clamped meanwhile
    transitions: int  # used for the fit


@dataclass(frozen=True)
class ModelEstimate(Estimate):
    """Imagined value; the interval runs from the lowest to the highest member of the world model."""

    members: list[float]  # value by member
    return_mean: float  # undiscounted, mean over members
    return_low: float
    return_high: float
    starts: int


@dataclass(frozen=True)
class ImportanceEstimate:
    """Importance weighting of held-out episodes; all numbers are None if no estimate is possible."""

    value: float | None
    low: float | None  # 95 % bootstrap over episodes
    high: float | None
    per_step: float | None
    unweighted: float | None  # value by ordinary instead of self-normalized weights
    ess: float | None  # effective number of episodes
    reason: str | None  # why there is no estimate


@dataclass(frozen=True)
class PolicyEstimates:
    """All offline estimates of one policy."""

    fqe: FQEEstimate
    model: ModelEstimate
    model_pessimistic: ModelEstimate  # with the penalty subtracted
    importance: ImportanceEstimate


@dataclass(frozen=True)
class SeedEstimates:
    """Offline estimates of one training seed: the contents of ``data/offline/seed-K.json``."""

    schema_version: int
    seed: int
    discount: float
    horizon: int  # steps of imagination
    logged: LoggedValue
    agents: dict[str, PolicyEstimates]


@dataclass(frozen=True)
class PooledEstimate:
    """One estimate over several seeds: means, and the lowest and highest bound. None if no seed has the estimate."""

    value: float | None
    per_step: float | None
    low: float | None
    high: float | None
    drift: float | None = None  # of fitted Q evaluation: the seed with the largest magnitude
    clamped: float | None = None
    reason: str | None = None  # why there is no estimate


@dataclass(frozen=True)
class AgentEstimates:
    """All estimates of one policy over all seeds, and its true value where there is an environment."""

    fqe: PooledEstimate
    model: PooledEstimate
    model_pessimistic: PooledEstimate
    importance: PooledEstimate
    true: TrueValue | None

    @property
    def by_estimator(self) -> dict[str, PooledEstimate]:
        """The four estimates by name."""
        return {
            "fqe": self.fqe,
            "model": self.model,
            "model_pessimistic": self.model_pessimistic,
            "importance": self.importance,
        }


@dataclass(frozen=True)
class Agreement:
    """How well one estimate ranks all policies of all seeds (:mod:`pipeline.ope.ranking`)."""

    policies: int
    regret_at_1: float
    spearman: float | None
    error: float  # mean absolute error of the value


@dataclass(frozen=True)
class OfflineSummary:
    """The contents of ``reports/metrics/offline.json``."""

    schema_version: int
    discount: float
    horizon: int  # steps of imagination
    logged: LoggedValue
    seeds: list[int]
    agents: dict[str, AgentEstimates]
    agreement: dict[str, Agreement | None] | None  # by estimator; None without an environment
