"""The first screen below the verdict: what was run, and one line for every reason to trust it or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.reporting.results import Results
from pipeline.reporting.text.advice import reach
from pipeline.reporting.text.formatting import number, percent
from pipeline.reporting.text.limits import FEW_SEEDS
from pipeline.reporting.text.ope import preferences
from pipeline.reporting.trust import intervals, mean, visited_coverage
from pipeline.validation import counted

CLOSE = 0.1  # a predicted return that differs by less than this share of the measured one agrees with it


@dataclass(frozen=True)
class Reason:
    """One line of the overview; ``section`` is the part of the page with the details."""

    section: str
    topic: str
    text: str


def glance(results: Results) -> list[Reason]:
    """One line each on the runs, logs, world model, intervals, predicted return and offline estimates, in the order of
    the page."""
    return [
        Reason("scores", "Runs", _runs(results)),
        Reason("data", "Logs", _logs(results)),
        Reason("trust", "World model", _model(results)),
        Reason("trust", "Intervals", _intervals(results)),
        Reason("gap", "Predicted return", _prediction(results)),
        Reason("offline", "Offline estimates", preferences(results)),
    ]


def recipe(params: Mapping[str, Any], results: Results) -> str:
    """What was run, as far as ``params`` name it, and where: "policy sac, world model rssm, ..., environment none"."""
    learner, model, penalty = (params.get(part, {}) for part in ("policy", "world_model", "penalty"))
    parts = [f"policy {learner['name']}"] if "name" in learner else []
    parts += [f"world model {model['name']}"] if "name" in model else []
    weight = f" × {penalty['weight']}" if "weight" in penalty else ""  # a number or auto
    parts += [f"penalty {penalty['name']}{weight}"] if "name" in penalty else []
    return ", ".join([*parts, results.seeds_text, f"environment {results.evaluation.environment or 'none'}"])


def _runs(results: Results) -> str:
    count, policy = len(results.seeds), results.summary("policy")
    if policy is None:
        return f"Trained with {results.seeds_text}; no real episode was run."
    seeds = counted(count, "seed")
    few = ", too few to show the variation between training runs" if count < FEW_SEEDS else ""
    return f"{policy.episodes:,} real episodes of {seeds}{few}."


def _logs(results: Results) -> str:
    spec, count = results.dataset.spec, len(results.checks)
    warnings = [f"{c.name.replace('_', ' ')} ({c.severity})" for c in results.checks if c.warns]
    checks = f"{len(warnings)} of {count} data checks warn: {', '.join(warnings)}"
    return (
        f"{spec.transitions:,} steps in {spec.episodes:,} episodes;"
        f" {checks if warnings else f'all {count} data checks passed'}."
    )


def _model(results: Results) -> str:
    steps = reach(results)
    trusted = f"Trusted for {steps}" if steps else "Not trusted for a single step"
    errors = results.errors.values()
    model, persistence = mean(e.model_rmse[0] for e in errors), mean(e.persistence_rmse[0] for e in errors)
    if not persistence:
        return f"{trusted}."
    return f"{trusted}; one-step error is {percent(model / persistence, 1)} of the persistence baseline."


def _intervals(results: Results) -> str:
    outputs = intervals(results)
    if not outputs:
        return "None to measure."
    held_out = percent(float(np.mean([output.before for output in outputs.values()])))
    visited = visited_coverage(results)
    beside = "" if visited is None else f", and {percent(visited)} on the policy's own steps"
    return f"90\u00a0% intervals contain {held_out} of held-out targets{beside}."


def _prediction(results: Results) -> str:
    evaluation = results.evaluation
    predicted = f"Predicted return over {evaluation.imagination.horizon} steps: {number(evaluation.imagined_return)};"
    real, gap = evaluation.real_return, evaluation.exploitation_gap
    if real is None or gap is None:
        return f"{predicted} not measured, because there is no environment."
    verdict = (
        f"within {percent(CLOSE)}"
        if abs(gap) <= CLOSE * abs(real)
        else "prediction too high"
        if gap > 0
        else "prediction too low"
    )
    return f"{predicted} measured: {number(real)} ({verdict})."
