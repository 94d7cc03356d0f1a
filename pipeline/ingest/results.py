"""What ``reports/metrics/dataset.json`` holds."""

from dataclasses import dataclass, field

from pipeline.data.spec import RANDOM
from pipeline.ingest.checks.result import CheckResult


@dataclass(frozen=True)
class Distribution:
    """Summary of one quantity over episodes."""

    mean: float
    std: float
    min: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float
    max: float


@dataclass(frozen=True)
class RewardRange:
    """Rewards of single steps."""

    min: float
    max: float
    mean: float
    std: float


@dataclass(frozen=True)
class ActionBounds:
    """Bounds of the actions "A", and where they come from."""

    kind: str
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class References:
    """Returns with the scores 0 and 100, and where they come from; None without any."""

    min: float | None
    max: float | None
    source: str | None


@dataclass(frozen=True)
class Unmeasured:
    """Observations in which a column was not measured, but holds an old value or none."""

    share: float
    parts: list[float]  # the share in each of ten equal parts of the log, in its order


@dataclass(frozen=True)
class DatasetCard:
    """The contents of ``reports/metrics/dataset.json``."""

    name: str
    source: str
    digest: str
    env_id: str | None
    license: str | None
    transitions: int
    train_transitions: int
    held_out_transitions: int
    episodes: int
    held_out_episodes: int
    dropped: int
    terminals: int
    obs_dim: int
    action_dim: int
    returns: Distribution
    train_returns: Distribution
    held_out_returns: Distribution
    lengths: Distribution
    reward: RewardRange
    action_bounds: ActionBounds
    action_saturation: list[float]  # share of steps with an action within 1 % of a bound, "A"; empty for discrete ones
    constant_features: dict[str, list[int]]  # entries of each observation that never change
    references: References
    warnings: list[str]
    checks: dict[str, CheckResult]  # by name, without the lists that only figures use
    split: str = RANDOM  # how the held-out episodes were chosen
    # by column, for columns with empty cells under `missing: mask` and those of `update_every`
    unmeasured: dict[str, Unmeasured] = field(default_factory=dict)
