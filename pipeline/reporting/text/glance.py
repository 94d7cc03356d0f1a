"""The first screen below the decision: what was run, and one line for every reason to trust it or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.assessment.gate import constant_reward, reward_horizon
from pipeline.reporting.decision import FEWEST_STEPS
from pipeline.reporting.results import Results
from pipeline.reporting.rivals import best_estimates, per_step
from pipeline.reporting.text.advice import reach
from pipeline.reporting.text.formatting import number, percent
from pipeline.reporting.text.limits import FEW_SEEDS
from pipeline.reporting.text.ope import preferences
from pipeline.reporting.text.world_model_use import HELPS, HINDERS, world_model_use
from pipeline.reporting.trust import intervals, mean, mean_of, visited_coverage
from pipeline.validation import counted

CLOSE = 0.1  # a predicted return that differs by less than this share of the measured one agrees with it
COVERED = 0.85  # share of targets inside 90 % intervals; a model that covers less is overconfident
GOOD, WARN, BAD, OPEN = "good", "warn", "bad", "open"  # open: not measured


@dataclass(frozen=True)
class Reason:
    """One line of the overview; ``section`` is the part of the page with the details."""

    section: str
    topic: str
    state: str  # GOOD, WARN, BAD or OPEN
    text: str


def glance(results: Results) -> list[Reason]:
    """One line each on the runs, whether the world model helps, logs, world model, reward, intervals, predicted return
    and offline estimates, in the order of the page."""
    lines = {
        ("scores", "Runs"): _runs(results),
        ("scores", "Baselines"): _baselines(results),
        ("data", "Logs"): _logs(results),
        ("trust", "World model"): _model(results),
        ("model", "Reward"): _reward(results),
        ("trust", "Intervals"): _intervals(results),
        ("gap", "Predicted return"): _prediction(results),
        ("offline", "Offline estimates"): _estimates(results),
    }
    return [Reason(section, topic, state, text) for (section, topic), (state, text) in lines.items()]


def recipe(params: Mapping[str, Any], results: Results) -> str:
    """What was run, as far as ``params`` name it, and where: "policy sac, world model rssm, ..., environment none"."""
    learner, model, penalty = (params.get(part, {}) for part in ("policy", "world_model", "penalty"))
    parts = [f"policy {learner['name']}"] if "name" in learner else []
    parts += [f"world model {model['name']}"] if "name" in model else []
    weight = f" × {penalty['weight']}" if "weight" in penalty else ""  # a number or auto
    parts += [f"penalty {penalty['name']}{weight}"] if "name" in penalty else []
    return ", ".join([*parts, results.seeds_text, f"environment {results.evaluation.environment or 'none'}"])


def _runs(results: Results) -> tuple[str, str]:
    count, policy = len(results.seeds), results.summary("policy")
    if policy is None:
        return OPEN, f"Trained with {results.seeds_text}; no real episode was run."
    seeds = counted(count, "seed")
    if count < FEW_SEEDS:
        few = "too few to show the variation between training runs"
        return WARN, f"{policy.episodes:,} real episodes of {seeds}, {few}."
    return GOOD, f"{policy.episodes:,} real episodes of {seeds}."


def _baselines(results: Results) -> tuple[str, str]:
    """Does the world model help?"""
    answer, sentence = world_model_use(results)
    measured = results.summary("policy") is not None
    state = {HELPS: GOOD, HINDERS: BAD}.get(answer, OPEN)
    return state if measured else OPEN, sentence


def _logs(results: Results) -> tuple[str, str]:
    spec, count = results.dataset.spec, len(results.checks)
    warnings = [f"{c.name.replace('_', ' ')} ({c.severity})" for c in results.checks if c.warns]
    undecided = [c.name.replace("_", " ") for c in results.checks if c.severity == "inconclusive"]
    checks = f"{len(warnings)} of {count} data checks warn: {', '.join(warnings)}" if warnings else ""
    if undecided:
        checks += f"{'; ' if warnings else ''}inconclusive: {', '.join(undecided)}"
    size = f"{spec.transitions:,} steps in {spec.episodes:,} episodes"
    serious = any(c.severity == "serious" for c in results.checks)
    state = BAD if serious else WARN if warnings or undecided else GOOD
    return state, f"{size}; {checks or f'all {count} data checks passed'}."


def _model(results: Results) -> tuple[str, str]:
    steps = reach(results)
    shortest = min(errors.trust.horizon for errors in results.errors.values())
    state = BAD if shortest == 0 else WARN if shortest < FEWEST_STEPS else GOOD
    trusted = f"Trusted for {steps}" if steps else "Not trusted for a single step"
    errors = results.errors.values()
    model, persistence = mean(e.model_rmse[0] for e in errors), mean(e.persistence_rmse[0] for e in errors)
    if not persistence:
        return state, f"{trusted}."
    error = f"one-step error is {percent(model / persistence, 1)} of the persistence baseline"
    linear = mean_of(e.linear_rmse[0] if e.linear_rmse else None for e in errors)
    if linear is None or model < linear:
        return state, f"{trusted}; {error}."
    return BAD if state == BAD else WARN, f"{trusted}; {error}, and larger than that of linear regression."


def _reward(results: Results) -> tuple[str, str]:
    """The predicted reward beside its mean."""
    errors = list(results.errors.values())
    model, baseline = mean(e.reward_mae[0] for e in errors), mean(e.reward_baseline_mae[0] for e in errors)
    numbers = f"mean absolute error of one step is {number(model)}, that of the mean reward {number(baseline)}"
    if all(map(constant_reward, errors)):
        return OPEN, f"Constant in held-out logs, so no test of the prediction; {numbers}."
    steps = min(map(reward_horizon, errors))
    if steps == 0:
        return BAD, f"No better than a constant: {numbers}."
    least = "at least " if steps == errors[0].horizons[-1] else ""
    state = WARN if steps < min(e.trust.horizon for e in errors) else GOOD
    return state, f"Better than a constant for {least}{counted(steps, 'step')}; {numbers}."


def _intervals(results: Results) -> tuple[str, str]:
    outputs = intervals(results)
    if not outputs:
        return OPEN, "None to measure."
    held_out, visited = float(np.mean([output.before for output in outputs.values()])), visited_coverage(results)
    beside = "" if visited is None else f", and {percent(visited)} on the policy's own steps"
    name, least = min(((name, output.before) for name, output in outputs.items()), key=lambda item: item[1])
    lowest = f" (least for {name}: {percent(least)})" if least < COVERED else ""
    covered = least >= COVERED and (visited is None or visited >= COVERED)
    state = GOOD if covered else WARN
    return state, f"90\u00a0% intervals contain {percent(held_out)} of held-out targets{lowest}{beside}."


def _prediction(results: Results) -> tuple[str, str]:
    evaluation = results.evaluation
    steps = evaluation.imagination.horizon
    real, gap = evaluation.real_return, evaluation.exploitation_gap
    if real is None or gap is None:
        offline = results.offline
        return OPEN, (
            f"Reward per step: the world model predicts {number(offline.agents['policy'].model.per_step)} over"
            f" {offline.horizon} steps, held-out logs have {number(offline.logged.per_step)}; not measured, because"
            " there is no environment."
        )
    close = abs(gap) <= CLOSE * abs(real)
    verdict = f"within {percent(CLOSE)}" if close else f"prediction too {'high' if gap > 0 else 'low'}"
    numbers = f"{number(evaluation.imagined_return)}; measured: {number(real)} ({verdict})"
    return GOOD if close else WARN, f"Predicted return over {steps} steps: {numbers}."


def _estimates(results: Results) -> tuple[str, str]:
    policy, baseline = per_step(results, "policy"), best_estimates(results)
    logged = results.offline.logged.per_step
    above = [estimate.value > max(baseline[name].value, logged) for name, estimate in policy.items()]
    return GOOD if all(above) else WARN if any(above) else BAD, preferences(results)
