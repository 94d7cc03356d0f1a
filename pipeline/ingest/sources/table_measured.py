"""Which values of a table were measured: empty cells, and values that are copied until the next measurement.

A column with such values becomes more features: its last value, ``x measured`` (1 where the value is new) and ``x age``
(steps since then, or since the start of the episode before any measurement).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.ingest.sources.table_rows import Rows

REFUSE, LAST, MASK = MISSING = ("refuse", "last", "mask")
AUTO = "auto"
REGULAR = 0.9  # share of the distances between changes that are multiples of the period of a regular column
FEW = 3  # distances below which no period is inferred


@dataclass(frozen=True)
class Watched:
    """A column of observations whose values are not measured in every row.

    ``every`` is the number of rows between measurements: 1 for a column that only has empty cells; None if it counts as
    measured where its value changes. ``start`` stands for its values before the first one of an episode.
    """

    name: str
    features: slice
    every: int | None
    start: np.ndarray

    @property
    def added(self) -> list[str]:
        """Names of the features that are added for the column."""
        return [f"{self.name} measured", f"{self.name} age"]

    def measured(self, obs: np.ndarray) -> np.ndarray:
        """Whether the column was measured in each row "N O", bool "N"; empty cells are NaN."""
        values = obs[:, self.features]
        there = np.isfinite(values).all(axis=1)
        if self.every == 1:
            return np.asarray(there)
        changes = _changes(held(values))
        if self.every is None:
            return there & np.r_[True, changes]
        rows = np.flatnonzero(changes) + 1
        phase = int(np.bincount(rows % self.every).argmax()) if rows.size else 0
        return there & ((np.arange(len(values)) - phase) % self.every == 0)


@dataclass
class Survey:
    """What a first pass over the log shows about one column: its mean, empty cells, and distances between changes."""

    total: np.ndarray
    count: int = 0
    empty: int = 0
    distances: Counter[int] | None = None

    def note(self, values: np.ndarray) -> None:
        """Add the values "N F" of one episode, in order."""
        there = np.isfinite(values).all(axis=1)
        self.total = self.total + values[there].sum(axis=0)
        self.count, self.empty = self.count + int(there.sum()), self.empty + int((~there).sum())
        if self.distances is not None:
            self.distances.update(np.diff(np.flatnonzero(_changes(held(values)))).tolist())

    @property
    def mean(self) -> np.ndarray:
        """Mean of the measured values."""
        return self.total / max(self.count, 1)

    def period(self) -> int | None:
        """Rows between measurements; None if there is no regular number of rows."""
        distances = self.distances or Counter()
        total = sum(distances.values())
        if total < FEW:
            return None
        period = distances.most_common(1)[0][0]
        regular = sum(count for distance, count in distances.items() if distance % period == 0)
        if period == 1 and total < sum(distance * count for distance, count in distances.items()) / 2:
            return None
        return period if regular >= REGULAR * total else None


def survey(episodes: Iterable[Rows], columns: dict[str, slice], auto: set[str]) -> dict[str, Survey]:
    """A first pass over all rows, by column; distances between changes only for those in ``auto``."""
    surveys = {
        name: Survey(np.zeros(part.stop - part.start), distances=Counter() if name in auto else None)
        for name, part in columns.items()
    }
    for rows in episodes:
        obs = rows.obs if rows.time is None else rows.obs[np.argsort(rows.time, kind="stable")]
        for name, part in columns.items():
            surveys[name].note(obs[:, part])
    return surveys


def watched_columns(
    surveys: dict[str, Survey], columns: dict[str, slice], update_every: dict[str, int | str], mask: bool
) -> list[Watched]:
    """The columns to watch: with empty cells if ``mask``, and those of ``update_every`` with more than a row."""
    watched = []
    for name, part in columns.items():
        wanted = update_every.get(name, 1)
        every = surveys[name].period() if wanted == AUTO else int(wanted)
        start = surveys[name].mean if name in surveys else np.full(part.stop - part.start, np.nan)
        if every != 1 or (mask and surveys[name].empty):
            watched.append(Watched(name, part, every, start))
    return watched


def mark(rows: Rows, watched: list[Watched]) -> Rows:
    """Rows without empty observations, and whether each column of ``watched`` was measured, "N W"."""
    obs = held(rows.obs)
    if not watched:
        return replace(rows, obs=obs)
    measured = np.zeros((len(rows), len(watched)), bool)
    for w, column in enumerate(watched):
        measured[:, w] = column.measured(rows.obs)
        values = obs[:, column.features]
        if np.isnan(values).any():
            obs[:, column.features] = np.where(np.isnan(values), column.start, values)
    return replace(rows, obs=obs, measured=measured)


def with_ages(obs: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Observations "N O" followed by whether each watched column was measured ("N W"), and its age."""
    row = np.arange(len(obs))[:, None]
    age = row - np.maximum.accumulate(np.where(measured, row, 0), axis=0)
    return np.concatenate([obs, np.stack([measured, age], axis=-1).reshape(len(obs), -1)], axis=1)


def held(values: np.ndarray) -> np.ndarray:
    """Values "N F" where the last one above stands for NaN; NaN stays where there is none above."""
    empty = np.isnan(values)
    if not empty.any():
        return values
    row = np.where(empty, 0, np.arange(len(values))[:, None])
    return np.asarray(np.take_along_axis(values, np.maximum.accumulate(row, axis=0), axis=0))


def first_known(obs: np.ndarray) -> int:
    """The first row at or above which every feature has a value; the number of rows if there is none."""
    unknown = np.isnan(held(obs)).any(axis=1)
    return int(unknown.argmin()) if not unknown.all() else len(obs)


def _changes(values: np.ndarray) -> np.ndarray:
    """Whether each row but the first differs from the one above, bool "N-1"; NaN equals NaN."""
    before, after = values[:-1], values[1:]
    return np.asarray(((before != after) & ~(np.isnan(before) & np.isnan(after))).any(axis=1))
