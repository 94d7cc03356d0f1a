"""How episodes end: time limits that pass for deaths, deaths that were lost, and steps that are missing in between."""

import re

import numpy as np

from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.sample import Sample

AT_LIMIT = 5  # episodes of exactly the maximal length that make it a time limit
ALL = 0.9  # share of them that end in a terminal, if time limits pass for terminals
EARLY = 0.05  # share of episodes that end before the longest, if ends are lost; the last episode may be cut
CLOCK = re.compile(r"(^|[^a-z])(time|timestamp|seconds|clock|t)([^a-z]|$)", re.IGNORECASE)
GAP = 1.5  # median time steps
ANOTHER_KEY = "another `dataset.terminal_key` (a table's `terminal_column`)"


def timeouts_as_terminals(sample: Sample) -> Finding | None:
    """None unless several episodes share the maximal length."""
    longest = sample.lengths == sample.lengths.max()
    if longest.sum() < AT_LIMIT or sample.lengths.max() == 1:
        return None
    share = sample.ended[longest].mean()
    evidence = {
        "longest": sample.lengths.max(),
        "episodes_of_that_length": longest.sum(),
        "of_them_ending_in_a_terminal": share,
        "terminals": sample.ended.sum(),
    }
    if share < ALL:
        return Finding("timeouts_as_terminals", "info", evidence, "The time limit is no terminal.")
    meaning = "Every episode of the one maximal length ends in a terminal: a time limit, learned as a death."
    remedy = f"`dataset.terminal_includes_timeouts: true`, {ANOTHER_KEY}, or `dataset.transform`"
    return Finding("timeouts_as_terminals", "serious", evidence, meaning, remedy)


def missing_terminals(sample: Sample) -> Finding | None:
    """Only where no episode at all ends in a terminal."""
    if sample.ended.any():
        return None
    early = int((sample.lengths[:-1] < sample.lengths.max()).sum())
    share = early / len(sample.lengths)
    evidence = {"terminals": 0, "episodes_that_end_early": early, "share": share, "longest": sample.lengths.max()}
    if share < EARLY:
        return Finding("missing_terminals", "info", evidence, "No terminals, and no episode that ends early.")
    meaning = "Episodes end before the longest one, yet none in a terminal: the model cannot learn why they end."
    remedy = f"{ANOTHER_KEY}, or terminals by `dataset.transform`; harmless if they were cut at will"
    if dropped := sample.dataset.spec.dropped:
        remedy = (
            f"append every episode's final observation, for want of which {dropped} last steps were dropped; {remedy}"
        )
    return Finding("missing_terminals", "warning", evidence, meaning, remedy)


def time_gaps(sample: Sample) -> Finding | None:
    """Of the first feature that is a clock: named like one and rising throughout, or rising by one and the same step
    nearly always. None without such a feature."""
    step = sample.next_obs - sample.obs
    usual = np.median(step, axis=0)
    rising = (step > 0).all(axis=0)
    even = (abs(step - usual) <= 0.01 * abs(usual)).mean(axis=0) > ALL
    named = np.array([bool(CLOCK.search(name)) for name in sample.names], bool)
    clocks = np.flatnonzero(rising & (even | named))
    if not len(clocks):
        return None
    clock = int(clocks[0])
    gaps = step[:, clock] > GAP * usual[clock]
    widest = step[:, clock].max() / usual[clock]
    evidence = {"clock": sample.names[clock], "usual_step": usual[clock], "gaps": gaps.sum(), "widest_in_steps": widest}
    if not gaps.any():
        return Finding("time_gaps", "info", evidence, "The clock among the features never jumps.")
    meaning = "Time jumps within episodes, so one step of the model stands for several of the plant."
    return Finding("time_gaps", "warning", evidence, meaning, "split the log at its gaps, or fill them in")
