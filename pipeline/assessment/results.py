"""What ``data/calibration/seed-K/errors.json`` and ``reliability.json`` hold.

Correlations are None where they are undefined, because one of the two quantities never varies.
"""

from dataclasses import dataclass

from pipeline.world_models.results import TerminationQuality


@dataclass(frozen=True)
class Correlation:
    """Correlations of a penalty with the world model's error."""

    spearman: float | None
    pearson: float | None


@dataclass(frozen=True)
class HorizonCorrelations:
    """Correlations along imagined rollouts, one for each horizon."""

    spearman: list[float | None]
    pearson: list[float | None]


@dataclass(frozen=True)
class RolloutCorrelations:
    """Correlations of the penalty's sum and maximum over the first h imagined steps with the error of step h."""

    horizons: list[int]
    sum: HorizonCorrelations
    max: HorizonCorrelations


@dataclass(frozen=True)
class PenaltyQuality:
    """How well one penalty ranks errors (:mod:`pipeline.assessment.penalty_quality`)."""

    kind: str  # aleatoric, epistemic or total
    spearman: float | None  # with the error of one held-out step
    pearson: float | None
    auc: float  # of telling logged actions from shuffled ones; 0.5 is chance
    rollout: RolloutCorrelations
    score: float  # the best penalty has the largest


@dataclass(frozen=True)
class FeatureError:
    """One-step errors of one feature, or of the reward; the linear ones are None without vector observations.

    Root mean square errors are in standard deviations of the feature's change (of the reward itself). R2 is relative to
    persistence.
    """

    name: str
    rmse: float
    persistence_rmse: float
    linear_rmse: float | None
    r2: float
    linear_r2: float | None


@dataclass(frozen=True)
class Trust:
    """How far imagination can be trusted (:mod:`pipeline.assessment.horizon`)."""

    horizon: int  # steps
    horizon_measured: int  # steps: the longest horizon that could be found
    quantile: float  # of the windows' errors, in both lists
    model_error: list[float]  # by step
    persistence_error: list[float]  # by step
    apart: float  # median distance between unrelated states
    share: float  # of ``apart``: the limit of the model's error


@dataclass(frozen=True)
class OpenLoopErrors:
    """Errors of predictions that run on without observations (:mod:`pipeline.assessment.open_loop`).

    One number for each of ``horizons``; the linear ones are None without vector observations.
    """

    horizons: list[int]
    context: int  # real steps that the model sees first
    model_rmse: list[float]
    persistence_rmse: list[float]
    linear_rmse: list[float] | None
    reward_mae: list[float]
    reward_baseline_mae: list[float]  # of always predicting the mean
    reward_linear_mae: list[float] | None
    windows: int
    trust: Trust


@dataclass(frozen=True)
class ModelErrors(OpenLoopErrors):
    """All held-out errors of a world model: the contents of ``errors.json``."""

    penalties: dict[str, PenaltyQuality]
    features: list[FeatureError]  # the largest error first
    termination: TerminationQuality


@dataclass(frozen=True)
class Reliability:
    """Likelihood and coverage of predictive distributions by output "D", before and after recalibration.

    Temperatures are fitted on one half of the held-out episodes; everything else is measured on the other half.
    """

    outputs: list[str]  # "D"
    levels: list[float]  # "L", of central intervals
    temperature: list[float]  # "D", factor on the standard deviations
    coverage_before: list[list[float]]  # "L D", share of targets inside
    coverage_after: list[list[float]]
    nll_before: list[float]  # "D", negative log-likelihood in nats
    nll_after: list[float]
    nll_constant: list[float]  # of one normal distribution with the mean and std of the first half
    steps_fitted: int
    steps_judged: int
    basis: str  # what the targets are


@dataclass(frozen=True)
class NoReliability:
    """Stands in for :class:`Reliability` where there are no intervals to measure."""

    skipped: str  # the reason
