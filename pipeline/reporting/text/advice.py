"""Advice from the numbers alone: which penalty to use, how far to imagine, where the model is overconfident."""

import numpy as np

from pipeline.reporting.results import Results
from pipeline.reporting.tables import Table, pairs
from pipeline.reporting.text.formatting import listed, number, percent
from pipeline.reporting.text.penalty_advice import in_the_environment, which_penalty
from pipeline.reporting.trust import features, intervals, mean, visited_coverage, visited_seeds
from pipeline.validation import counted

NOMINAL, SLACK = 0.9, 0.05  # the level of the intervals, and the deviation from it that is reported
NAMED = 3  # outputs mentioned by name


def advice(results: Results, used: str | None) -> Table:
    """A row for each topic. ``used``: the penalty that the policy was trained with."""
    topics = {
        "trusted horizon": [horizon(results)],
        "calibration": _calibration(results),
        "policy's own steps": _shift(results),
        "which penalty": which_penalty(results, used),
        "penalty in the environment": in_the_environment(results),
        "largest errors": _features(results),
    }
    return pairs({topic: " ".join(sentences) for topic, sentences in topics.items() if sentences})


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
        named = listed([f"{percent(outputs[n].before)} for {n}" for n in narrow[:NAMED]])
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
        sentences.append(f"The error is larger than that of linear regression for {listed(worse[:NAMED])}{more}.")
    return sentences
