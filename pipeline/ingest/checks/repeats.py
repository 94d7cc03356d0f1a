"""What stands in the log more than once: episodes, nearly equal episodes, rows."""

import hashlib

import numpy as np
from scipy.spatial import cKDTree

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.sample import IntArray, Sample

MARKS = 16  # rows of an episode that are compared at first
ALIKE = 1e-3  # root mean square difference in standard deviations
ROWS_REPEAT = 0.02  # share of steps that stand in the log more than once


def duplicate_episodes(sample: Sample) -> Finding | None:
    copies = len(sample.lengths) - len(np.unique(_groups(sample.dataset)))
    if not copies:
        return None
    evidence = {"copies": copies, "share": copies / len(sample.lengths)}
    meaning = "Episodes are exact copies of earlier ones: kept, on the first one's side of the split."
    return Finding("duplicate_episodes", "warning", evidence, meaning, "remove them from the log")


def near_duplicate_episodes(sample: Sample) -> Finding | None:
    """Equal length, and observations and actions that differ by less than a thousandth of their spread."""
    if not sample.moving.any():
        return None
    pairs = _close_pairs(sample)
    if not len(pairs):
        return None
    across = int((sample.dataset.held_out[pairs[:, 0]] != sample.dataset.held_out[pairs[:, 1]]).sum())
    evidence = {"pairs": len(pairs), "across_the_split": across, "first": f"{pairs[0, 0]} and {pairs[0, 1]}"}
    meaning = "Episodes differ from others by rounding alone: what is held out is not new where such a pair is split."
    return Finding("near_duplicate_episodes", "warning", evidence, meaning, "remove them from the log")


def duplicate_rows(sample: Sample) -> Finding:
    """Steps with the same observation, action, reward and next observation, beside those of copied episodes."""
    groups = _groups(sample.dataset)
    first = np.unique(groups, return_index=True)[1]
    fresh = np.isin(sample.episode_of(sample.rows), first)
    step = np.concatenate([sample.obs, sample.action, sample.reward[:, None], sample.next_obs], axis=1)[fresh]
    step = np.ascontiguousarray(step.astype(np.float32))
    different = len(np.unique(step.view(np.dtype((np.void, step.itemsize * step.shape[1])))))
    share = 1 - different / len(step)
    evidence = {"share": share, "rows_compared": len(step)}
    if share < ROWS_REPEAT or not sample.moving.any():
        return Finding("duplicate_rows", "info", evidence, "Hardly any step stands in the log twice.")
    meaning = "Steps repeat exactly: a log written twice in part, a sensor that froze, or a state at rest."
    return Finding(
        "duplicate_rows", "warning", evidence, meaning, "remove repeated rows from the log, if they are not real"
    )


def _groups(dataset: PreparedDataset) -> IntArray:
    """A number for every episode, the same for exact copies, "E". Of images, three frames an episode are compared."""
    keys, seen = dataset.spec.vector_keys, dict[bytes, int]()
    arrays = [dataset.action, dataset.reward, dataset.terminal, *(dataset.obs[key] for key in keys)]
    frames = [dataset.obs[key] for key in dataset.spec.image_keys]
    groups = []
    for start, stop in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True):
        parts = [a[start:stop] for a in arrays] + [f[[start, (start + stop) // 2, stop - 1]] for f in frames]
        digest = hashlib.blake2b(b"".join(np.ascontiguousarray(p).tobytes() for p in parts), digest_size=16).digest()
        groups.append(seen.setdefault(digest, len(seen)))
    return np.array(groups, np.int64)


def _close_pairs(sample: Sample) -> IntArray:
    """Pairs of different episodes "P 2" that are alike at every one of ``MARKS`` rows."""
    first = np.unique(_groups(sample.dataset), return_index=True)[1]
    offsets, lengths = sample.dataset.offsets[:-1][first], sample.lengths[first]
    rows = offsets[:, None] + np.round(np.linspace(0, 1, MARKS) * lengths[:, None]).astype(np.int64)
    marks = np.concatenate([sample.observed(rows.ravel())[:, sample.moving], sample.actions(rows.ravel())], axis=1)
    marks = marks / np.maximum(marks.std(axis=0), 1e-12)
    # Lengths stand far apart, so that only episodes of the same length are neighbors.
    points = np.concatenate([marks.reshape(len(first), -1), lengths[:, None] * 1.0], axis=1)
    within = ALIKE * np.sqrt(marks.shape[1] * MARKS)
    pairs = cKDTree(points).query_pairs(min(within, 0.5), output_type="ndarray")
    return first[np.sort(pairs, axis=1)]
