"""What the content of columns says about their roles. ``starts`` are the first rows of the episodes."""

from collections.abc import Iterable

import numpy as np

from pipeline.cli.table_sample import DATE, NUMBER, TEXT, Sample, SampleColumn
from pipeline.ingest.sources.dates import EPOCHS, NS

EVEN = 0.05  # share of a step by which the rows of a clock may deviate
SENTINELS = (-99.0, -999.0, -9999.0, -99999.0, 9999.0, 99999.0, 999999.0, -32768.0, 65535.0)
VARIED = 8  # different values of a measurement, rather than of a mode
PREFILTER = 64  # rows that are compared first


def inner(starts: np.ndarray, rows: int) -> np.ndarray:
    """The rows that have a next row in their episode."""
    last = np.r_[starts[1:], rows] - 1
    return np.setdiff1d(np.arange(rows), last)


def steps(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Differences between neighboring rows of an episode."""
    rows = inner(starts, len(values))
    return np.asarray(values[rows + 1] - values[rows])


def counts_rows(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column of whole numbers grows by one with each row of each episode."""
    if not column.whole or column.missing:
        return False
    difference = steps(column.values, starts)
    return len(difference) > 2 and bool((difference == 1).all())


def is_clock(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column grows by the same amount with each row of each episode."""
    if column.kind not in (NUMBER, DATE) or column.missing:
        return False
    difference = steps(column.values, starts)
    if len(difference) < 3 or not (difference > 0).all():
        return False
    step = float(np.median(difference))
    return bool((np.abs(difference - step) <= EVEN * step).all())


def increases(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column has a value in every row, and grows within each episode."""
    return not column.missing and bool((steps(column.values, starts) > 0).all())


def is_binary(column: SampleColumn) -> bool:
    """Whether a column holds 0 and 1 alone, and both."""
    return column.kind == NUMBER and set(np.unique(column.filled)) == {0.0, 1.0}


def marks_ends(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column of 0 and 1 is 1 in last rows of episodes alone, or in the row before an empty one."""
    if not is_binary(column):
        return False
    last = np.r_[starts[1:], len(column.values)] - 1
    last = np.where(np.isnan(column.values[last]), last - 1, last)
    marked = np.flatnonzero(column.values == 1)
    return len(starts) > 1 and bool(np.isin(marked, np.r_[last, last - 1]).all())


def separates(column: SampleColumn, files: np.ndarray) -> bool:
    """Whether a column of 0 and 1 may mark ends of episodes: 1 in the last row of each file, and rarely elsewhere."""
    last = np.r_[files[1:], len(column.values)] - 1
    marked = np.flatnonzero(column.values == 1)
    rare = 4 * len(marked) <= len(column.values) and bool((np.diff(marked) > 1).all())
    return is_binary(column) and len(marked) > len(files) and rare and bool((column.values[last] == 1).all())


def ends_are_longest(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether all episodes that a column marks as ended have the maximal length, as with a time limit."""
    lengths = np.diff(np.r_[starts, len(column.values)])
    marked = np.flatnonzero(column.values == 1)
    of_episode = np.searchsorted(starts, marked, side="right") - 1
    return len(marked) > 1 and bool((lengths[of_episode] == lengths.max()).all())


def empty_in(column: SampleColumn, rows: np.ndarray) -> bool:
    """Whether the cells of the given rows are empty, and no others."""
    return np.array_equal(np.flatnonzero(np.isnan(column.values)), np.sort(rows))


def marks_missing(column: SampleColumn, sample: Sample) -> bool:
    """Whether a column of 0 and 1 says in which rows the cells of another one are empty, or are not."""
    empty = (np.isnan(other.values) for other in sample.columns.values() if other.missing)
    return any(np.array_equal(column.values == 1, rows) or np.array_equal(column.values == 0, rows) for rows in empty)


def sentinel(column: SampleColumn) -> float | None:
    """A number far from all others that usually means "missing"; None if there is none."""
    values = column.filled
    for number in SENTINELS:
        rest = values[values != number]
        if len(rest) == len(values):
            continue
        if not len(rest):
            return number
        if abs(number - np.median(rest)) > 5 * (rest.max() - rest.min()) + 10:
            return number
    return None


def held_rows(column: SampleColumn, starts: np.ndarray) -> int | str | None:
    """How many rows a measurement stays the same: a number, "auto" if it varies; None if it changes with the rows."""
    values = column.values
    if column.kind != NUMBER or column.missing or len(np.unique(values)) < VARIED:
        return None
    if np.unique(values, return_counts=True)[1].max() > len(values) / 2:
        return None
    if (np.diff(values)[np.diff(values) != 0] == 1).mean() > 1 / 2:
        return None  # a counter
    edges = np.union1d(np.flatnonzero(np.diff(values) != 0) + 1, starts)
    lengths = np.diff(edges)
    whole_runs = lengths[~np.isin(edges[1:], starts)]  # an episode may end before a new value comes
    if len(whole_runs) < VARIED or (typical := int(np.median(whole_runs))) < 3:
        return None
    if (whole_runs % typical == 0).mean() > 0.9:
        return typical
    return "auto" if typical >= 5 and not column.whole else None


def next_columns(sample: Sample, names: Iterable[str], starts: np.ndarray) -> dict[str, str]:
    """For each column that holds, in every row, the value that another one has in the next row: that other one."""
    columns = [sample.columns[name] for name in names]
    varied = [c for c in columns if c.kind == NUMBER and len(np.unique(c.filled)) >= VARIED]
    rows = inner(starts, len(sample))
    if len(rows) < 3 or len(varied) < 2:
        return {}
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), PREFILTER)).astype(int)]
    now = np.nan_to_num(np.stack([c.values[few] for c in varied]))
    later = np.nan_to_num(np.stack([c.values[few + 1] for c in varied]))
    pairs: dict[str, str] = {}
    for j, column in enumerate(varied):
        for i in np.flatnonzero((later == now[j]).all(axis=1)):
            if i != j and np.array_equal(column.values[rows], varied[i].values[rows + 1], equal_nan=True):
                pairs[column.name] = varied[i].name
    return pairs


def episode_column(sample: Sample, names: Iterable[str], clocks: list[SampleColumn]) -> str | None:
    """A column that is constant in runs of rows, and changes exactly where a clock starts again or jumps."""
    for name in names:
        column = sample.columns[name]
        if column.missing or not (column.whole or column.kind == TEXT) or column.constant:
            continue
        starts = np.flatnonzero(np.r_[True, np.diff(column.values) != 0])
        if len(starts) != len(np.unique(column.values)) or len(starts) > len(sample) / 3:
            continue
        if any(_starts_again(clock, starts) for clock in clocks if clock.name != name):
            return name
    return None


def _starts_again(clock: SampleColumn, starts: np.ndarray) -> bool:
    if clock.missing:
        return False
    difference = steps(clock.values, starts)
    if len(difference) < 3 or not (difference > 0).all():
        return False
    jumps = clock.values[starts[1:]] - clock.values[starts[1:] - 1]
    return bool(((jumps < 0) | (jumps > 1.5 * difference.max())).all())


def epoch_unit(column: SampleColumn) -> str | None:
    """The unit of a column of whole numbers that are times since 1970, between 1990 and 2100; None for others."""
    if not column.whole:
        return None
    low, high = column.filled.min(), column.filled.max()
    return next(
        (unit for unit, ticks in EPOCHS.items() if low * ticks > 6.3e8 * NS and high * ticks < 4.1e9 * NS), None
    )


def is_static(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column is constant within each of several episodes, but not over all."""
    if column.constant or len(starts) < 2 or column.missing or column.kind not in (NUMBER, TEXT):
        return False
    return not steps(column.values, starts).any()
