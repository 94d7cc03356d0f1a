"""How episodes end: time limits logged as terminals, missing terminals, and time gaps within episodes."""

import re

import numpy as np

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import Sample

LIMIT_EPISODES = 5  # at least this many episodes of the maximal length suggest a time limit
MOSTLY = 0.9  # share of episodes at the limit that end in a terminal; and share of rows with a regular clock step
EARLY = 0.05  # share of shorter episodes above which terminals seem lost; the last episode may be cut
CLOCK = re.compile(r"(^|[^a-z])(time|timestamp|seconds|clock|t)([^a-z]|$)", re.IGNORECASE)
GAP = 1.5  # median time steps
OTHER_KEY = "set another `dataset.terminal_key` (a table's `terminal_column`)"


def timeouts_as_terminals(sample: Sample) -> CheckResult | None:
    """Whether the time limit is logged as a terminal. None unless several episodes share the maximal length."""
    longest = sample.lengths == sample.lengths.max()
    if longest.sum() < LIMIT_EPISODES or sample.lengths.max() == 1:
        return None
    share = sample.ended[longest].mean()
    evidence = {
        "longest": sample.lengths.max(),
        "episodes_of_that_length": longest.sum(),
        "share_with_terminal": share,
        "terminals": sample.ended.sum(),
    }
    if share < MOSTLY:
        return CheckResult("timeouts_as_terminals", "info", evidence, "The time limit is not logged as a terminal.")
    meaning = "Episodes of the maximal length end in a terminal: a time limit would be learned as a termination."
    remedy = f"set `dataset.terminal_includes_timeouts: true`, {OTHER_KEY}, or use `dataset.transform`"
    return CheckResult("timeouts_as_terminals", "serious", evidence, meaning, remedy)


def missing_terminals(sample: Sample) -> CheckResult | None:
    """Whether episodes end early without a terminal. None if any episode ends in a terminal."""
    if sample.ended.any():
        return None
    early = int((sample.lengths[:-1] < sample.lengths.max()).sum())
    share = early / len(sample.lengths)
    evidence = {"terminals": 0, "early_ends": early, "share": share, "longest": sample.lengths.max()}
    if share < EARLY:
        return CheckResult("missing_terminals", "info", evidence, "No terminals, and no episode ends early.")
    meaning = "Episodes end early but none has a terminal: the model cannot learn when episodes end."
    remedy = f"{OTHER_KEY}, or add terminals in `dataset.transform`; harmless if the episodes were cut on purpose"
    if dropped := sample.dataset.spec.dropped:
        cause = f"{dropped} last steps were dropped because their next observation is missing"
        remedy = f"log the final observation of every episode ({cause}); or {remedy}"
    return CheckResult("missing_terminals", "warning", evidence, meaning, remedy)


def time_gaps(sample: Sample) -> CheckResult | None:
    """Whether the clock jumps within episodes; None without a clock.

    The clock is the first feature that always rises and either has a name such as ``time`` or nearly constant steps.
    """
    step = sample.next_obs - sample.obs
    usual = np.median(step, axis=0)
    rising = (step > 0).all(axis=0)
    even = (abs(step - usual) <= 0.01 * abs(usual)).mean(axis=0) > MOSTLY
    named = np.array([bool(CLOCK.search(name)) for name in sample.names], bool)
    clocks = np.flatnonzero(rising & (even | named))
    if not len(clocks):
        return None
    clock = int(clocks[0])
    gaps = step[:, clock] > GAP * usual[clock]
    widest = step[:, clock].max() / usual[clock]
    evidence = {"clock": sample.names[clock], "usual_step": usual[clock], "gaps": gaps.sum(), "widest_in_steps": widest}
    if not gaps.any():
        return CheckResult("time_gaps", "info", evidence, "The clock has no gaps.")
    meaning = "Time jumps within episodes: one step of the model covers several steps of the system."
    return CheckResult("time_gaps", "warning", evidence, meaning, "split the log at its gaps, or fill them")
