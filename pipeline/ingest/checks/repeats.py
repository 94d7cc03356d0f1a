"""Duplicates in the log: episodes, nearly equal episodes, rows."""

from itertools import pairwise

import numpy as np

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import FloatArray, IntArray, Sample, evenly

MARKS = 16  # rows of an episode that are compared
EPISODES = 200_000  # at most so many episodes are compared with each other, the first of the log
SCALED = 10_000  # at most so many of them determine the spread
AT_ONCE = 4096  # episodes whose marks are in memory at a time
PLANES = 4  # directions of the marks in which close episodes are searched
PAIRS = 1_000_000  # with more close pairs, fewer episodes are compared
CLOSE = 1e-3  # root mean square difference in standard deviations
REPEATED_SHARE = 0.02  # of steps that occur more than once


def duplicate_episodes(sample: Sample) -> CheckResult | None:
    """Exact copies of earlier episodes; None if there are none."""
    copies = len(sample.lengths) - len(np.unique(sample.copies))
    if not copies:
        return None
    evidence = {"copies": copies, "share": copies / len(sample.lengths)}
    sides = np.unique(np.stack([sample.copies, sample.dataset.held_out]), axis=1)
    apart = sides.shape[1] - len(np.unique(sample.copies))
    where = f"{apart} of them on both sides of the split" if apart else "on the same side of the split as the first"
    meaning = f"Episodes are exact copies of earlier ones. They are kept, {where}."
    return CheckResult("duplicate_episodes", "warning", evidence, meaning, "remove them from the log")


def near_duplicate_episodes(sample: Sample) -> CheckResult | None:
    """Episodes of equal length whose observations and actions differ by less than a thousandth of their spread."""
    if not sample.moving.any():
        return None
    pairs = _close_pairs(sample)
    if not len(pairs):
        return None
    across = int((sample.dataset.held_out[pairs[:, 0]] != sample.dataset.held_out[pairs[:, 1]]).sum())
    evidence = {"pairs": len(pairs), "across_the_split": across, "first": f"{pairs[0, 0]} and {pairs[0, 1]}"}
    meaning = "Episodes are nearly equal: pairs across the split make the held-out error too low."
    return CheckResult("near_duplicate_episodes", "warning", evidence, meaning, "remove them from the log")


def duplicate_rows(sample: Sample) -> CheckResult:
    """Steps with equal observation, action, reward and next observation, without those of copied episodes."""
    first = np.unique(sample.copies, return_index=True)[1]
    originals = np.isin(sample.episode_of(sample.rows), first)
    step = np.concatenate([sample.obs, sample.action, sample.reward[:, None], sample.next_obs], axis=1)[originals]
    step = np.ascontiguousarray(step.astype(np.float32))
    distinct = len(np.unique(step.view(np.dtype((np.void, step.itemsize * step.shape[1])))))
    share = 1 - distinct / len(step)
    evidence = {"share": share, "rows_compared": len(step)}
    if share < REPEATED_SHARE or not sample.moving.any():
        return CheckResult("duplicate_rows", "info", evidence, "Hardly any step occurs twice.")
    meaning = "Steps repeat exactly: part of the log was written twice, a sensor froze, or the system was at rest."
    remedy = "remove repeated rows from the log, unless the system was at rest"
    return CheckResult("duplicate_rows", "warning", evidence, meaning, remedy)


def _close_pairs(sample: Sample) -> IntArray:
    """Pairs "P 2" of different episodes that are close at each of ``MARKS`` rows, in the order of the log.

    Close episodes are close in every projection, so a search in few dimensions finds all candidates.
    """
    episodes = np.unique(sample.copies, return_index=True)[1][:EPISODES]
    scale = np.maximum(_marks(sample, evenly(episodes, SCALED)).std(axis=0), 1e-12)
    size = MARKS * len(scale)
    within = min(CLOSE * np.sqrt(size), 0.5)
    planes = np.linalg.qr(np.random.default_rng(0).normal(size=(size, min(PLANES, size))))[0]
    # The length is a coordinate with large distances, so that only episodes of the same length are neighbors.
    points = np.concatenate(
        [
            np.column_stack([_flat_marks(sample, part, scale) @ planes, sample.lengths[part]])
            for part in _parts(episodes)
        ]
    )
    candidates = episodes[_neighbors(points, within)]
    close = [np.zeros(0, bool)]
    for part in _parts(candidates):
        first, second = (_flat_marks(sample, side, scale) for side in part.T)
        close.append(np.linalg.norm(first - second, axis=1) <= within)
    return candidates[np.concatenate(close)]


def _neighbors(points: FloatArray, within: float) -> IntArray:
    """Pairs "P 2" of rows of ``points`` "N D" that are close, sorted; of the first rows where there are too many."""
    from scipy.spatial import cKDTree  # slow to import

    tree = cKDTree(points)
    while tree.count_neighbors(tree, within) - len(points) > 2 * PAIRS:
        points = points[: len(points) // 2]
        tree = cKDTree(points)
    pairs = np.sort(tree.query_pairs(within, output_type="ndarray"), axis=1).astype(np.int64)
    return pairs[np.lexsort(pairs.T[::-1])]


def _flat_marks(sample: Sample, episodes: IntArray, scale: FloatArray) -> FloatArray:
    """The marks of each episode side by side, "N MARKS*F", divided by ``scale`` "F"."""
    return (_marks(sample, episodes) / scale).reshape(len(episodes), MARKS * len(scale))


def _marks(sample: Sample, episodes: IntArray) -> FloatArray:
    """Observations and actions at ``MARKS`` rows of each of the ``episodes`` "N", "N*MARKS F"."""
    offsets, lengths = sample.dataset.offsets[episodes], sample.lengths[episodes]
    rows = (offsets[:, None] + np.round(np.linspace(0, 1, MARKS) * lengths[:, None]).astype(np.int64)).ravel()
    return np.concatenate([sample.observed(rows)[:, sample.moving], sample.actions(rows)], axis=1)


def _parts(rows: IntArray) -> list[IntArray]:
    """``rows`` "N ..." in parts of at most ``AT_ONCE``, at least one part."""
    return [rows[a:b] for a, b in pairwise([*range(0, max(len(rows), 1), AT_ONCE), len(rows)])]
