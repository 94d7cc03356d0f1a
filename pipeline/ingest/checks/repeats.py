"""Duplicates in the log: episodes, nearly equal episodes, rows."""

import hashlib

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import IntArray, Sample

MARKS = 16  # rows of an episode that are compared
CLOSE = 1e-3  # root mean square difference in standard deviations
REPEATED_SHARE = 0.02  # of steps that occur more than once


def duplicate_episodes(sample: Sample) -> CheckResult | None:
    """Exact copies of earlier episodes; None if there are none."""
    copies = len(sample.lengths) - len(np.unique(_groups(sample.dataset)))
    if not copies:
        return None
    evidence = {"copies": copies, "share": copies / len(sample.lengths)}
    meaning = "Episodes are exact copies of earlier ones. They are kept, on the same side of the split as the first."
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
    groups = _groups(sample.dataset)
    first = np.unique(groups, return_index=True)[1]
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


def _groups(dataset: PreparedDataset) -> IntArray:
    """A number for every episode "E", the same for exact copies. Of images, three frames an episode are compared."""
    keys, group_of = dataset.spec.vector_keys, dict[bytes, int]()
    arrays = [dataset.action, dataset.reward, dataset.terminal, *(dataset.obs[key] for key in keys)]
    frames = [dataset.obs[key] for key in dataset.spec.image_keys]
    groups = []
    for start, stop in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True):
        parts = [a[start:stop] for a in arrays] + [f[[start, (start + stop) // 2, stop - 1]] for f in frames]
        digest = hashlib.blake2b(b"".join(np.ascontiguousarray(p).tobytes() for p in parts), digest_size=16).digest()
        groups.append(group_of.setdefault(digest, len(group_of)))
    return np.array(groups, np.int64)


def _close_pairs(sample: Sample) -> IntArray:
    """Pairs "P 2" of different episodes that are close at each of ``MARKS`` rows."""
    first = np.unique(_groups(sample.dataset), return_index=True)[1]
    offsets, lengths = sample.dataset.offsets[:-1][first], sample.lengths[first]
    rows = offsets[:, None] + np.round(np.linspace(0, 1, MARKS) * lengths[:, None]).astype(np.int64)
    marks = np.concatenate([sample.observed(rows.ravel())[:, sample.moving], sample.actions(rows.ravel())], axis=1)
    marks = marks / np.maximum(marks.std(axis=0), 1e-12)
    # The length is a coordinate with large distances, so that only episodes of the same length are neighbors.
    points = np.concatenate([marks.reshape(len(first), -1), lengths[:, None] * 1.0], axis=1)
    within = CLOSE * np.sqrt(marks.shape[1] * MARKS)
    from scipy.spatial import cKDTree  # slow to import

    pairs = cKDTree(points).query_pairs(min(within, 0.5), output_type="ndarray")
    return first[np.sort(pairs, axis=1)]
