"""Advice from the numbers alone: which penalty to use, how far to imagine, where the model is overconfident."""

import numpy as np

from pipeline.reporting.results import Results
from pipeline.reporting.tables import Table, pairs
from pipeline.reporting.text.formatting import fixed, number, percent
from pipeline.reporting.trust import (
    PenaltySummary,
    features,
    intervals,
    mean,
    ranked_on_logs,
    visited_coverage,
    visited_seeds,
)
from pipeline.validation import counted

ALIKE = 0.03  # penalties whose scores differ by less count as equally good
WEAK = 0.3  # a rank correlation below this is too weak to rely on
BLIND = 0.6  # an AUC below this hardly separates one action from another
NOMINAL, SLACK = 0.9, 0.05  # the level of the intervals, and the deviation from it that is reported
NAMED = 3  # outputs mentioned by name


def advice(results: Results, used: str | None) -> Table:
    """A row for each topic. ``used``: the penalty that the policy was trained with."""
    topics = {
        "trusted horizon": [horizon(results)],
        "calibration": _calibration(results),
        "policy's own steps": _shift(results),
        "which penalty": _penalty(results, used),
        "largest errors": _features(results),
    }
    return pairs({topic: " ".join(sentences) for topic, sentences in topics.items() if sentences})


def _best(ranked: dict[str, PenaltySummary]) -> tuple[str, list[str]]:
    """The penalty to use, and those that score about as well. Among these, the one that ranks best on the policy's own
    steps is chosen."""
    top = next(iter(ranked.values())).score or 0.0
    alike = [name for name, penalty in ranked.items() if top - (penalty.score or 0.0) < ALIKE]
    best = max(alike, key=lambda name: _visited_rank(ranked[name]))
    return best, [name for name in alike if name != best]


def _penalty(results: Results, used: str | None) -> list[str]:
    ranked = ranked_on_logs(results)
    best, alike = _best(ranked)
    penalty = ranked[best]
    near, far = min(penalty.along, default=1), max(penalty.along, default=1)
    sentences = [
        f"Use {best}. Its rank correlation with the error of one held-out step is {_rank(penalty.spearman)}; that of"
        f" its sum along imagined rollouts with their error is {_rank(penalty.along.get(near))} after {near} step and"
        f" {_rank(penalty.along.get(far))} after {far}."
    ]
    if (penalty.spearman or 0.0) < WEAK:
        sentences.append("This is weak: no penalty here ranks the model's errors well, so keep rollouts short.")
    elif (penalty.along.get(far) or 0.0) < WEAK:
        sentences.append("It ranks single steps, but not long rollouts: do not rely on it to stop them.")
    if penalty.auc is not None and penalty.auc < BLIND:
        sentences.append(
            f"It hardly separates logged actions from others (AUC {_rank(penalty.auc)}): either the logs hold many"
            " actions for each state, or the penalty does not depend on the action."
        )
    if alike:
        sentences.append(f"On the logs, {_and(alike)} {'does' if len(alike) == 1 else 'do'} about as well.")
    if any(_visited_rank(penalty) > _visited_rank(ranked[name]) for name in alike):
        sentences.append(f"Among these, {best} ranks best on the policy's own states ({_rank(penalty.visited)}).")
    if used in ranked:
        sentences.append(f"This run used {'it' if used == best else used}.")
    if penalty.visited is not None and penalty.visited < WEAK < (penalty.spearman or 0.0):
        better = max(ranked, key=lambda name: _visited_rank(ranked[name]))
        there = f"; {better} ranks best there ({_rank(ranked[better].visited)})" if better != best else ""
        sentences.append(f"On the policy's own states its rank correlation is only {_rank(penalty.visited)}{there}.")
    return sentences


def _visited_rank(penalty: PenaltySummary) -> float:
    """The rank correlation on the policy's own states; the lowest possible one if it is unknown."""
    return -1.0 if penalty.visited is None else penalty.visited


def reach(results: Results) -> str | None:
    """The trusted horizon in words; None if not even one step is trusted."""
    trust = [errors.trust for errors in results.errors.values()]
    steps = sorted(t.horizon for t in trust)
    if steps[-1] == 0:
        return None
    if steps[0] == max(t.horizon_measured for t in trust):
        return f"at least {counted(steps[0], 'step')}, the longest measured"
    return (
        counted(steps[0], "step")
        if steps[0] == steps[-1]
        else f"{steps[0]} to {counted(steps[-1], 'step')}, depending on the seed"
    )


def horizon(results: Results) -> str:
    """How far to imagine, and why."""
    steps = reach(results)
    if steps is None:
        return (
            "Do not imagine with this model: its error of the first step is already above the limit, or no better than"
            " persistence."
        )
    limit = mean(errors.trust.share * errors.trust.apart for errors in results.errors.values())
    return (
        f"The world model is trusted for {steps}: up to there, nine of ten held-out windows stay within {number(limit)}"
        f" {results.error_unit} of the truth, half the distance between unrelated states."
    )


def _calibration(results: Results) -> list[str]:
    outputs = intervals(results, NOMINAL)
    if not outputs:
        return [f"Whether the model is overconfident is unknown: {'; '.join(results.no_reliability)}."]
    before = float(np.mean([output.before for output in outputs.values()]))
    after = float(np.mean([output.after for output in outputs.values()]))
    narrow = sorted((n for n in outputs if outputs[n].before < NOMINAL - SLACK), key=lambda n: outputs[n].before)
    if narrow:
        named = _and([f"{percent(outputs[n].before)} for {n}" for n in narrow[:NAMED]])
        more = f", and less than {percent(NOMINAL - SLACK)} for {len(narrow) - NAMED} more" * (len(narrow) > NAMED)
        verdict = f"The model is overconfident. Share of targets inside its 90\u00a0% intervals: {named}{more}."
    elif before > NOMINAL + SLACK:
        verdict = "The model is nowhere overconfident on held-out steps, but rather underconfident."
    else:
        verdict = "The model is nowhere overconfident on held-out steps."
    average = f"On average, 90\u00a0% intervals contain {percent(before)} of targets, recalibrated {percent(after)}."
    return [verdict, average]


def _shift(results: Results) -> list[str]:
    visited = visited_seeds(results)
    if not visited:
        return []
    logged = mean(float(samples["true_error"].mean()) for samples in results.samples.values())
    there = mean(seed.true_error for seed in visited)
    coverage = visited_coverage(results)
    covers = "" if coverage is None else f", and 90\u00a0% intervals contain {percent(coverage)} of targets"
    return [f"The one-step error is {number(there / logged)} times that on held-out logs{covers}."]


def _features(results: Results) -> list[str]:
    errors = features(results)
    if not errors:
        return []
    worst = next(iter(errors.values()))
    of = "" if worst.name == "reward" else " of its change"
    sentences = [
        f"The largest error of one held-out step is that of {worst.name}: {number(worst.rmse)} standard deviations{of}."
    ]
    ratios = {error.name: error.rmse / error.linear_rmse for error in errors.values() if error.linear_rmse}
    worse = [f"{name} ({number(ratio)} times)" for name, ratio in ratios.items() if ratio >= 1]
    if worse:
        more = " and more" if len(worse) > NAMED else ""
        sentences.append(f"The error is larger than that of linear regression for {_and(worse[:NAMED])}{more}.")
    return sentences


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _rank(value: float | None) -> str:
    return "undefined" if value is None else fixed(value)
