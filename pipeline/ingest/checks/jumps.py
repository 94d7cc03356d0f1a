"""Ends that stand in the wrong place: states that jump inside episodes, and episodes that go on after their end.

The size of a change is compared feature by feature with the 95 % quantile of its one-step changes. A step is a jump if
most features exceed that at once: a wrapping angle or an impact moves some of them, a lost end moves all.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import LEAST_ROWS, FloatArray, Sample

USUAL = 0.95  # quantile of a feature's one-step changes
JUMP = 3.0  # of these quantiles; the largest regular change of the logs tested is 2.4
LEAST_JUMPS, MOST_SHARE = 3, 0.04  # jumps that are reported; where they are more frequent, the system itself jumps
FEATURES = 2  # continuous features needed
SMOOTH = 0.4  # a regular change must be smaller than this share of the distance between random states
GOES_ON = 1.5  # regular changes; the next episode starts within that of the end
ENDS = 5  # ends that are compared


def jumps(sample: Sample) -> CheckResult | None:
    """Steps at which most features jump. None for small logs and for fewer than two continuous features."""
    usual = _usual(sample)
    if usual is None:
        return None
    size = _inside(sample, usual)
    where = np.flatnonzero(size >= JUMP)
    between = _between(sample, usual)
    evidence: dict[str, object] = {"jumps": len(where), "share": len(where) / len(size), "largest": size.max()}
    if len(between):
        evidence["share_of_ends_that_jump"] = (between >= JUMP).mean()
    if len(where) < LEAST_JUMPS or len(where) > MOST_SHARE * len(size):
        return CheckResult("jumps", "info", evidence, "States change steadily inside episodes.")
    row = sample.rows[where[:1]]
    episode = int(sample.episode_of(row)[0])
    evidence["first"] = f"episode {episode}, step {int(row[0] - sample.dataset.offsets[episode])}"
    meaning = "Most features jump at once inside episodes: end marks or rows are missing there."
    remedy = (
        "name the mark of ends (`dataset.timeout_key`, a table's `timeout_column` or `episode_column`), or a table's "
        "`time_column`, which splits episodes at gaps; harmless if the system itself is reset"
    )
    return CheckResult("jumps", "warning", evidence, meaning, remedy)


def running_on(sample: Sample) -> CheckResult | None:
    """Whether episodes start where the one before ended. None for few episodes, for small logs, and for systems whose
    states change so much in one step that this cannot be seen."""
    usual = _usual(sample)
    between = np.zeros(0) if usual is None else _between(sample, usual)
    if usual is None or len(between) < ENDS:
        return None
    inside = float(np.median(_inside(sample, usual)))
    shuffled = np.random.default_rng(0).permutation(len(sample.obs))
    apart = float(np.median(_size(sample.obs[shuffled] - sample.obs, usual)))
    if inside > SMOOTH * apart:
        return None
    ended = sample.ended[:-1]
    chosen = between[ended] if ended.sum() >= ENDS else between
    evidence = {
        "change_at_an_end": np.median(chosen),
        "change_inside_episodes": inside,
        "distance_of_random_states": apart,
        "terminals": ended.sum(),
    }
    if np.median(chosen) > GOES_ON * inside:
        return CheckResult("running_on", "info", evidence, "Episodes start elsewhere than the one before ended.")
    meaning = "Episodes go on where the one before ended: one run in pieces."
    if ended.sum() < ENDS:
        return CheckResult("running_on", "info", evidence, meaning)
    meaning = "The system goes on after its terminals, without a reset: terminations would be learned that never were."
    remedy = "set another `dataset.terminal_key` (a table's `terminal_column`), or null if nothing terminates"
    return CheckResult("running_on", "warning", evidence, meaning, remedy)


def _usual(sample: Sample) -> FloatArray | None:
    """The usual largest change "O" of each feature; 0 for features that hardly move and exogenous ones, which are left
    out. None if too few are left."""
    if len(sample.rows) < LEAST_ROWS:
        return None
    usual = sample.once("usual", lambda: np.quantile(abs(sample.next_obs - sample.obs), USUAL, axis=0))
    usual = np.where(sample.exogenous, 0, usual)
    return usual if (usual > 0).sum() >= FEATURES else None


def _inside(sample: Sample, usual: FloatArray) -> FloatArray:
    """Size "n" of every change inside an episode."""
    return sample.once("sizes of changes", lambda: _size(sample.next_obs - sample.obs, usual))


def _size(change: FloatArray, usual: FloatArray) -> FloatArray:
    """Median over features of each change "n O" in units of ``usual``, "n"; of two features the smaller one."""
    chosen = usual > 0
    middle = (int(chosen.sum()) - 1) // 2
    return np.partition(abs(change[:, chosen]) / usual[chosen], middle, axis=1)[:, middle]


def _between(sample: Sample, usual: FloatArray) -> NDArray[np.float64]:
    """Size of the change from the end of each episode to the start of the next one, "E-1"."""
    starts = sample.dataset.offsets[1:-1]
    return _size(sample.observed(starts) - sample.observed(starts - 1), usual) if len(starts) else np.zeros(0)
