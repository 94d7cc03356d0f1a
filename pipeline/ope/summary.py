"""Pools the estimates of all seeds for ``reports/metrics/offline.json``, and compares them with true returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.ope.ranking import rank_correlation, regret_at
from pipeline.ope.results import (
    SCHEMA_VERSION,
    AgentEstimates,
    Agreement,
    FQEEstimate,
    ImportanceEstimate,
    ModelEstimate,
    OfflineSummary,
    PolicyEstimates,
    PooledEstimate,
    SeedEstimates,
    TrueValue,
)


class RealEpisodes(Protocol):
    """Real episodes "N" of one policy."""

    @property
    def returns(self) -> NDArray[np.float64]:
        """Undiscounted returns "N"."""

    @property
    def discounted(self) -> NDArray[np.float64]:
        """Discounted returns "N"."""


AnyEstimate = FQEEstimate | ModelEstimate | ImportanceEstimate

ESTIMATORS: dict[str, Callable[[PolicyEstimates], AnyEstimate]] = {
    "fqe": lambda estimates: estimates.fqe,
    "model": lambda estimates: estimates.model,
    "model_pessimistic": lambda estimates: estimates.model_pessimistic,
    "importance": lambda estimates: estimates.importance,
}


def offline_result(by_seed: Sequence[SeedEstimates], truth: Mapping[str, Sequence[TrueValue]]) -> OfflineSummary:
    """Pool the estimates of all seeds. ``truth`` holds the true value of each agent by seed; it is empty without an
    environment."""
    first = by_seed[0]
    agents = {name: _pool_agent([s.agents[name] for s in by_seed], truth.get(name)) for name in first.agents}
    return OfflineSummary(
        schema_version=SCHEMA_VERSION,
        discount=first.discount,
        horizon=first.horizon,
        logged=first.logged,
        seeds=[s.seed for s in by_seed],
        agents=agents,
        agreement={name: _agreement(name, by_seed, truth) for name in ESTIMATORS} if truth else None,
    )


def true_values(episodes: Mapping[str, Sequence[RealEpisodes]]) -> dict[str, list[TrueValue]]:
    """Mean return and mean discounted return by agent and seed, from the real episodes of each."""
    return {
        name: [TrueValue(return_mean=float(e.returns.mean()), value=float(e.discounted.mean())) for e in by_seed]
        for name, by_seed in episodes.items()
    }


def flat(estimates: PolicyEstimates | AgentEstimates) -> dict[str, float]:
    """One agent's estimates as single numbers for MLflow: ``fqe``, ``fqe_low``, ``model_return_mean``, ..."""
    numbers = {}
    for name, estimate in asdict(estimates).items():
        for key, value in (estimate or {}).items():
            if isinstance(value, float):
                numbers[name if key == "value" else f"{name}_{key}"] = value
    return numbers


def offline_numbers(summary: SeedEstimates | OfflineSummary) -> dict[str, float]:
    """The estimates of one seed or of all seeds as metrics for MLflow: ``offline/fqe`` of the policy,
    ``offline/bc_fqe`` of a baseline."""
    return {
        f"offline/{key if agent == 'policy' else f'{agent}_{key}'}": value
        for agent, estimates in summary.agents.items()
        for key, value in flat(estimates).items()
    }


def _pool_agent(by_seed: Sequence[PolicyEstimates], truth: Sequence[TrueValue] | None) -> AgentEstimates:
    pooled = {name: _pool([pick(estimates) for estimates in by_seed]) for name, pick in ESTIMATORS.items()}
    true = None
    if truth is not None:
        true = TrueValue(_mean([t.return_mean for t in truth]), _mean([t.value for t in truth]))
    return AgentEstimates(**pooled, true=true)


def _pool(by_seed: Sequence[AnyEstimate]) -> PooledEstimate:
    """Means over the seeds that have the estimate. The interval runs from the lowest to the highest bound; drift and
    clamping are those of the worst seed."""
    values = [e.value for e in by_seed if e.value is not None]
    if not values:
        reasons = [e.reason for e in by_seed if isinstance(e, ImportanceEstimate)]
        return PooledEstimate(None, None, None, None, reason=reasons[0])
    fits = [e for e in by_seed if isinstance(e, FQEEstimate)]
    return PooledEstimate(
        value=_mean(values),
        per_step=_mean([e.per_step for e in by_seed if e.per_step is not None]),
        low=min(e.low for e in by_seed if e.low is not None),
        high=max(e.high for e in by_seed if e.high is not None),
        drift=max((e.drift for e in fits), key=abs, default=None),
        clamped=max((e.clamped for e in fits), key=abs, default=None),
    )


def _agreement(
    estimator: str, by_seed: Sequence[SeedEstimates], truth: Mapping[str, Sequence[TrueValue]]
) -> Agreement | None:
    """Over every policy of every seed that has the estimate; None for fewer than two."""
    pairs = [
        (value, truth[name][i])
        for i, seed in enumerate(by_seed)
        for name, estimates in seed.agents.items()
        if (value := ESTIMATORS[estimator](estimates).value) is not None
    ]
    if len(pairs) < 2:
        return None
    values = [value for value, _ in pairs]
    returns = [true.return_mean for _, true in pairs]
    return Agreement(
        policies=len(pairs),
        regret_at_1=regret_at(1, values, returns),
        spearman=rank_correlation(values, returns),
        error=_mean([abs(value - true.value) for value, true in pairs]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))
