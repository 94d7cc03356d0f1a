"""Features that are no state: the next value of another feature, and counts of rows or time."""

import re

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import LEAST_ROWS, FloatArray, IntArray, Sample, evenly

EQUAL = 0.99  # share of steps, and of those where the value changes, in which a feature must be the other's next value
CLOSE = 1e-4  # standard deviations of a feature's one-step changes that count as equal
TRIED = 64  # rows that every pair of features is compared on first
CHANGES = 30  # steps in which a feature must change
NEXT_NAME = re.compile(r"(^|[^a-z])(next|successor|after|new)([^a-z]|$)|\bt\+1|'$|_p$", re.IGNORECASE)
EVEN = 0.99  # share of steps in which a count grows by the same amount
COUNTS = 0.9  # share of episodes that a count over the whole log starts higher than the one before
COUNTER_NAME = re.compile(r"(^|[^a-z])(index|idx|row|rows|id|count|unnamed|timestamp|epoch)([^a-z]|$)", re.IGNORECASE)


def next_state_features(sample: Sample) -> CheckResult | None:
    """Features that equal the next value of another one; None if there are none.

    The older entries of a history or of stacked frames look the same, but at the first row of an episode they repeat
    the newest entry or hold a constant, so pairs with equal or constant first rows are left out. Exogenous features
    are too: their forecasts are known.
    """
    pairs = [(i, j) for i, j in _next_values(sample) if not _is_a_past(sample, i, j)]
    if not pairs:
        return None
    named = [sample.names[j] for _, j in pairs if NEXT_NAME.search(sample.names[j])]
    evidence = {
        "count": len(pairs),
        "features": ", ".join(sample.names[j] for _, j in pairs[:8]),
        "next_values_of": ", ".join(sample.names[i] for i, _ in pairs[:8]),
    }
    meaning = "A feature holds the next value of another one: the model reads the future instead of predicting it."
    remedy = (
        "leave it out of the observation: name it in a table's `next_obs_columns` or in `dataset.next_obs_key`; "
        "harmless if the other feature is the past value of this one"
    )
    severity = "serious" if named else "warning"
    return CheckResult("next_state_features", severity, evidence, meaning, remedy)


def counters(sample: Sample) -> CheckResult | None:
    """Features that count rows or time over the whole log; None if there are none. A count that starts again with
    every episode is reported without a warning."""
    if len(sample.rows) < LEAST_ROWS or not sample.names:
        return None
    step = sample.next_obs - sample.obs
    usual = np.median(step, axis=0)
    rising = (step * np.sign(usual) >= 0).all(axis=0) & (usual != 0)
    even = (abs(step - usual) <= 0.01 * abs(usual)).mean(axis=0) >= EVEN
    named = np.array([bool(COUNTER_NAME.search(name)) for name in sample.names], bool)
    counts = rising & (even | named) & ~sample.exogenous
    if not counts.any():
        return None
    first = sample.observed(sample.dataset.offsets[:-1])
    goes_on = (np.diff(first, axis=0) * np.sign(usual) > 0).mean(axis=0) >= COUNTS if len(first) > 1 else counts
    chosen = counts & goes_on if (counts & goes_on).any() else counts
    names = [name for name, chosen_one in zip(sample.names, chosen, strict=True) if chosen_one]
    evidence = {"count": len(names), "features": ", ".join(names[:8]), "step": usual[chosen][0]}
    if not (counts & goes_on).any():
        meaning = "A feature counts the steps of an episode: right for tasks with a time limit, else no state."
        return CheckResult("counters", "info", evidence, meaning)
    meaning = "A feature counts rows or time over the whole log: later values never occur in the training data."
    remedy = "leave it out of the observation, or name it in a table's `time_column`"
    return CheckResult("counters", "warning", evidence, meaning, remedy)


def _next_values(sample: Sample) -> list[tuple[int, int]]:
    """Pairs (i, j) of features: j at a row equals i at the next one."""
    if len(sample.rows) < LEAST_ROWS:
        return []
    obs, next_obs = sample.obs, sample.next_obs
    changed = obs != next_obs
    slack = CLOSE * (next_obs - obs).std(axis=0)
    tried = evenly(np.arange(len(obs)), TRIED)
    lively = np.flatnonzero((changed.sum(axis=0) >= CHANGES) & ~sample.exogenous)
    pairs = []
    for i in lively:
        close = abs(obs[tried] - next_obs[tried, i, None]) <= slack[i]
        for j in np.flatnonzero(close.mean(axis=0) > EQUAL - 1.5 / TRIED):
            if j != i and _equal(obs[:, j], next_obs[:, i], changed[:, i], slack[i]):
                pairs.append((int(i), int(j)))
    return pairs


def _equal(feature: FloatArray, next_value: FloatArray, changed: NDArray[np.bool_], slack: float) -> bool:
    equal = abs(feature - next_value) <= slack
    return bool(equal.mean() >= EQUAL and equal[changed].mean() >= EQUAL)


def _is_a_past(sample: Sample, i: int, j: int) -> bool:
    """Whether feature i is a past value of feature j: at the first rows it repeats it or is constant."""
    starts: IntArray = sample.dataset.offsets[:-1]
    first = sample.observed(starts)
    if len(starts) < 2 or NEXT_NAME.search(sample.names[j]):
        return False
    return bool((first[:, i] == first[:, j]).mean() > 0.5 or np.ptp(first[:, i]) == 0 < np.ptp(first[:, j]))
