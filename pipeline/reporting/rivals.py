"""What the policy is compared with: numbers with intervals, and the best of the baselines."""

import math

from pipeline.evaluation.results import POLICY, ScoreSummary
from pipeline.ope.results import LoggedValue, PooledEstimate
from pipeline.reporting.results import Results
from pipeline.reporting.status import Bounds
from pipeline.reporting.text.formatting import interval, number
from pipeline.reporting.text.score_lines import label

ESTIMATORS = ("fqe", "model", "model_pessimistic")  # that rank policies in every run
NOTHING = Bounds(math.nan, math.nan, math.nan)


def best_by_returns(results: Results) -> str | None:
    """The baseline with the highest mean return; None if none was run."""
    means = {name: score.return_mean for name in results.evaluation.baselines if (score := results.summary(name))}
    return max(means, key=lambda name: means[name], default=None)


def best_by_estimates(results: Results) -> str:
    """The baseline with the highest value by fitted Q evaluation, which does not use the world model."""
    values = {name: per_step(results, name)["fqe"].value for name in estimated(results)}
    return max(values, key=lambda name: -math.inf if math.isnan(values[name]) else values[name])


def best_estimates(results: Results) -> dict[str, Bounds]:
    """The highest value of a baseline by each estimator; NaN where one of them has none, because a fit that diverged
    ranks nothing."""
    by_baseline = [per_step(results, name) for name in estimated(results)]
    return {name: _highest([estimates[name] for estimates in by_baseline]) for name in ESTIMATORS}


def _highest(values: list[Bounds]) -> Bounds:
    undefined = any(math.isnan(bounds.value) for bounds in values)
    return NOTHING if undefined else max(values, key=lambda bounds: bounds.value)


def estimated(results: Results) -> list[str]:
    """The baselines that have offline estimates. Raises ValueError if there is none."""
    names = [name for name in results.offline.agents if name != POLICY]
    if not names:
        raise ValueError("the results have no baseline to compare with: evaluate one, such as `bc`")
    return names


def called(baseline: str, count: int) -> str:
    """ "behavior cloning", or "TD3+BC, the best of 2 baselines": the best of several is the luckier one too."""
    return label(baseline) if count == 1 else f"{label(baseline)}, the best of {count} baselines"


def per_step(results: Results, agent: str) -> dict[str, Bounds]:
    """The estimates of one agent's reward per step, by estimator."""
    estimates = results.offline.agents[agent].by_estimator
    return {name: of_estimate(estimates[name], results.offline.discount) for name in ESTIMATORS}


def of_estimate(estimate: PooledEstimate | LoggedValue, discount: float) -> Bounds:
    """A discounted value and its interval as rewards per step; NaN where there is no estimate."""
    numbers = (estimate.value, estimate.per_step, estimate.low, estimate.high)
    value, per_step, low, high = (math.nan if number is None else number for number in numbers)
    ratio = per_step / value if value else 1 - discount
    return Bounds(per_step, *sorted((low * ratio, high * ratio)))


def of_score(score: ScoreSummary) -> Bounds:
    """A mean return and its interval."""
    return Bounds(score.return_mean, *score.return_mean_ci95)


def with_bounds(bounds: Bounds) -> str:
    """ "12.3 [11.0, 13.5]"."""
    return f"{number(bounds.value)} {interval(bounds.low, bounds.high)}"
