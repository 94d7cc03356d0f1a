"""Does the world model help? The policy beside the best learner that needs none, on the same logs and by the same
judge."""

import math

from pipeline.evaluation.results import POLICY, Learner
from pipeline.reporting.results import Results
from pipeline.reporting.rivals import (
    best_by_estimates,
    best_by_returns,
    called,
    estimated,
    of_score,
    per_step,
    with_bounds,
)
from pipeline.reporting.status import Bounds
from pipeline.validation import counted

HELPS, OPEN, HINDERS = (
    "The world model helps",
    "Whether the world model helps is not clear",
    "The world model does not help",
)
NO_MODEL = "The policy learned without a world model itself"


def world_model_use(results: Results) -> tuple[str, str]:
    """The answer, ``HELPS``, ``OPEN``, ``HINDERS`` or ``NO_MODEL``, and the sentence with the numbers behind it.

    Real returns answer if there are any, else fitted Q evaluation, which uses no world model either. Two numbers differ
    clearly if their 95 % intervals do not overlap.
    """
    policy = results.summary(POLICY)
    best = best_by_returns(results) if policy else best_by_estimates(results)
    if best is None:
        return OPEN, f"{OPEN}: no baseline was run."
    baseline = results.summary(best)
    if policy is not None and baseline is not None:
        own, other = of_score(policy), of_score(baseline)
        verb, judge = "returns", f"{counted(policy.episodes, 'real episode')} each"
    else:
        own, other = (per_step(results, agent)["fqe"] for agent in (POLICY, best))
        verb, judge = "earns per step", "fitted Q evaluation; nothing was measured"
    count = len(results.evaluation.baselines) if policy else len(estimated(results))
    learners = results.evaluation.learners
    answer = _answer(own, other) if learners[POLICY].world_model else NO_MODEL
    numbers = (
        f"the policy{_updates(learners[POLICY])} {verb} {with_bounds(own)},"
        f" {called(best, count)}{_updates(learners[best])}{',' if count > 1 else ''} {with_bounds(other)}"
    )
    return answer, f"{answer}: {numbers}; same logs, {judge}."


def _answer(policy: Bounds, baseline: Bounds) -> str:
    if math.isnan(policy.value) or math.isnan(baseline.value):
        return OPEN
    return HELPS if policy.above(baseline) else HINDERS if policy.below(baseline) else OPEN


def _updates(learner: Learner) -> str:
    return "" if learner.updates is None else f" ({learner.updates:,} updates)"
