"""The last part of a log in time, and episodes that overlap in time.

Episodes with a ``span`` are compared by its times, others by their order in the log. A clock that restarts with every
episode does not say when an episode was, so such spans are not used.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.episode_table import EpisodeTable, Piece

FloatArray = NDArray[np.float64]
RESTART = 0.05  # median durations: a clock whose episodes start within that of zero restarts with every episode
MOST = 0.9  # share of the episodes that do so
HALVINGS = 100  # of the interval in which the boundary lies


def last_part(place: str, table: EpisodeTable, fraction: float, gap: int) -> list[Piece]:
    """Pieces of the episodes, of which the last ``fraction`` of all steps in time is held out.

    Pieces are whole episodes where at least two lie in the last part. Otherwise, and where several episodes run at
    the same time, episodes are cut at the boundary: ``gap`` steps before it are left out, and a single held-out piece
    is cut into two in the same way. No episode is cut into pieces shorter than ``gap``. Raises ValueError if one side
    would be empty.
    """
    lengths = np.array(table.lengths, np.int64)
    after = _share_after(_intervals(table), lengths, fraction)
    held_out = after > 0.5
    crossing = (after > 0) & (after < 1)
    distinct = np.unique(np.array(table.copies)[held_out])
    if held_out.all() or len(distinct) < 2 or len(np.unique(np.array(table.copies)[crossing])) > 1:
        starts = lengths - np.round(lengths * after).astype(np.int64)
        cut = crossing & (starts - gap >= gap) & (lengths - starts >= gap)
        sides = np.where(cut, starts, np.where(held_out, 0, lengths))
    else:
        sides = np.where(held_out, 0, lengths)  # first held-out step of each episode
    alone = len(np.unique(np.array(table.copies)[sides < lengths])) == 1
    pieces = []
    for e, (start, steps) in enumerate(zip(sides.tolist(), table.lengths, strict=True)):
        if start > 0:
            pieces.append(Piece(e, 0, start - gap if start < steps else steps, False))
        if start < steps:
            pieces += _halves(e, start, steps, gap) if alone else [Piece(e, start, steps, True)]
    if len({piece.held_out for piece in pieces}) < 2:
        fix = "lower `dataset.split_gap`, raise `dataset.held_out_fraction` or add episodes"
        raise ValueError(
            f"{place}: `dataset.split: last`, but {sum(table.lengths)} steps in {len(lengths)} episodes leave no room "
            f"for parts of at least {gap} steps with {gap} between them; {fix}"
        )
    return pieces


def overlaps(table: EpisodeTable, held_out: NDArray[np.bool_]) -> int:
    """Number of held-out episodes, bool "E", that overlap in time with a training episode."""
    spans = spans_of(table)
    if spans is None or held_out.all():
        return 0
    train = spans[~held_out]
    train = train[np.argsort(train[:, 0], kind="stable")]
    latest = np.concatenate([[-np.inf], np.maximum.accumulate(train[:, 1])])
    earlier = np.searchsorted(train[:, 0], spans[held_out, 1], side="left")  # training episodes that start before
    return int((latest[earlier] > spans[held_out, 0]).sum())


def _halves(episode: int, start: int, stop: int, gap: int) -> list[Piece]:
    """One held-out part as two, if it is long enough, so that calibration can be fitted on one and judged on the
    other."""
    middle = start + (stop - start + gap) // 2
    if middle - gap - start < gap:
        return [Piece(episode, start, stop, True)]
    return [Piece(episode, start, middle - gap, True), Piece(episode, middle, stop, True)]


def spans_of(table: EpisodeTable) -> FloatArray | None:
    """Times "E 2" of the first and the last observation of each episode; None if they are not known."""
    given = [span for span in table.spans if span is not None]
    if len(given) < len(table.spans):
        return None
    spans = np.array(given, np.float64)
    near_zero = abs(spans[:, 0]) <= RESTART * np.median(spans[:, 1] - spans[:, 0])
    return None if len(spans) > 1 and near_zero.mean() > MOST else spans


def _intervals(table: EpisodeTable) -> FloatArray:
    """Start and end "E 2" of each episode in time, or in steps of the log. Copies have those of the first."""
    copies, lengths = np.array(table.copies), np.array(table.lengths, np.float64)
    first = np.unique(copies, return_index=True)[1]
    spans = spans_of(table)
    if spans is not None:
        return spans[first][copies]
    ends = np.cumsum(np.bincount(copies, lengths))
    return np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)[copies]


def _share_after(intervals: FloatArray, lengths: NDArray[np.int64], fraction: float) -> FloatArray:
    """Share "E" of each episode, in whole steps, that lies in the last ``fraction`` of all steps."""
    start, end = intervals.T
    duration = np.maximum(end - start, 1e-12 * max(float(abs(intervals).max()), 1))

    def after(boundary: float) -> FloatArray:
        return np.clip((end - boundary) / duration, 0, 1)

    low, high = float(start.min()), float(end.max())
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if after(middle) @ lengths > fraction * lengths.sum() else (low, middle)
    return np.round(after(high) * lengths) / lengths
