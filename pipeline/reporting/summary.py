"""``reports/summary.json``: the few numbers by which two runs are compared."""

import json
from pathlib import Path

import numpy as np

from pipeline.evaluation.results import LOGGED, POLICY
from pipeline.reporting.results import Results
from pipeline.reporting.rivals import best_by_returns
from pipeline.reporting.status import Decision
from pipeline.reporting.trust import intervals, mean

DIGITS = 6  # significant ones; the last digits of a sum differ between machines


def summary_numbers(results: Results) -> dict[str, float]:
    """At most ten numbers by name. Returns are undiscounted means, one of them that of the best baseline. ``fqe`` is
    discounted, ``one_step_error`` is relative to persistence, and ``coverage_90`` is the share of targets in 90 %
    intervals. Numbers that were not measured are left out."""
    evaluation, offline = results.evaluation, results.offline.agents["policy"].fqe
    agents = {"policy": POLICY, "baseline": best_by_returns(results), "logged": LOGGED}
    scores = {name: evaluation.summary(agent) for name, agent in agents.items() if agent is not None}
    numbers: dict[str, float | None] = {
        f"{name}_return": score.return_mean for name, score in scores.items() if score is not None
    }
    policy, outputs = evaluation.summary("policy"), intervals(results)
    errors = results.errors.values()
    persistence = mean(e.persistence_rmse[0] for e in errors)
    numbers |= {
        "policy_return_low": policy.return_mean_ci95[0] if policy else None,
        "policy_score": policy.mean if policy else None,
        "fqe": offline.value,
        "fqe_low": offline.low,
        "trusted_horizon": min(e.trust.horizon for e in errors),
        "one_step_error": mean(e.model_rmse[0] for e in errors) / persistence if persistence else None,
        "coverage_90": float(np.mean([o.before for o in outputs.values()])) if outputs else None,
    }
    return {name: _rounded(value) for name, value in numbers.items() if value is not None}


def write_summary(results: Results, decision: Decision, path: Path) -> None:
    """Write the answer of ``decision``, the best baseline and :func:`summary_numbers` as flat JSON."""
    best = best_by_returns(results)
    content = {
        "status": decision.answer,
        **({} if best is None else {"best_baseline": best}),
        **summary_numbers(results),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")
