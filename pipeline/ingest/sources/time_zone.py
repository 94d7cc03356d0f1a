"""Local times as instants, and times without a date or a year: what repeats is told apart by the order of rows."""

import zoneinfo
from collections.abc import Callable, Iterator

import numpy as np

from pipeline.ingest.sources.dates import DAY, NS
from pipeline.validation import closest

HOUR = 3600 * NS
TURNS = (3, 4, 5, 9, 10, 11)  # months in which clocks are changed


def known_zone(name: str) -> str:
    """``name`` if it is a time zone such as Europe/Berlin. Raises ValueError otherwise."""
    zones = zoneinfo.available_timezones()
    if name not in zones:
        raise ValueError(f"{name} is no time zone{closest(name, zones)}; one is Europe/Berlin")
    return name


def instants(
    local: np.ndarray,
    zone: str,
    groups: np.ndarray | None,
    passes: dict[str, tuple[int, bool]],
    place: Callable[[int], str],
) -> np.ndarray:
    """Instants in UTC of local times "N", both in nanoseconds.

    An hour that occurs twice is read as its first pass until time steps back in the episode, then as the second one.
    ``groups`` "N" are the episodes of the rows; ``passes`` keeps the last such row of each one for the next call.
    Raises ValueError for a time that is left out where clocks are set forward.
    """
    first, last = _assume(local, zone, "earliest"), _assume(local, zone, "latest")
    if (absent := np.flatnonzero(first > last)).size:
        fix = 'for a log that keeps one offset all year name it, such as `dataset.time_zone: "Etc/GMT-1"` for UTC+1'
        raise ValueError(f"{place(int(absent[0]))}: {text_of(local[absent[0]])} does not exist in {zone}; {fix}")
    for i in np.flatnonzero(first < last):
        group = "" if groups is None else str(groups[i])
        before, second = passes.get(group, (-HOUR, False))
        step = int(local[i]) - before
        second = abs(step) < HOUR and (second or step <= 0)
        passes[group] = (int(local[i]), second)
        first[i] = last[i] if second else first[i]
    return first


def _assume(local: np.ndarray, zone: str, which: str) -> np.ndarray:
    """Instants of local times; of two, the one that ``which`` names, and of none, the other end of what is left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    absent = "latest" if which == "earliest" else "earliest"
    times = pc.assume_timezone(pa.array(local, pa.timestamp("ns")), zone, ambiguous=which, nonexistent=absent)
    return np.array(times.cast(pa.int64()))


def refuse_set_back(
    local: np.ndarray, groups: np.ndarray | None, before: tuple[int, str] | None, place: Callable[[int], str]
) -> None:
    """Raises ValueError where local times "N" step back or repeat as at the end of summer time.

    ``before`` is the time and the episode of the row before them.
    """
    steps = np.diff(local, prepend=local[0] - 1 if before is None else before[0])
    usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0
    for i in np.flatnonzero((steps <= 0) & (steps > -HOUR) & (np.abs(steps + HOUR - usual) <= usual)):
        previous = "" if groups is None else (before[1] if before and i == 0 else str(groups[i - 1]))
        moment = local[i].astype("datetime64[ns]")
        night = (moment - moment.astype("datetime64[D]")) < np.timedelta64(4, "h")
        month = int(moment.astype("datetime64[M]").astype(int)) % 12 + 1
        if night and month in TURNS and previous == ("" if groups is None else str(groups[i])):
            when = f"time is {text_of(local[i])} again, as clocks do at the end of summer time"
            raise ValueError(f"{place(int(i))}: {when}; set `dataset.time_zone`, such as Europe/Berlin")


def rising(ticks: np.ndarray, period: int, groups: np.ndarray | None, turns: dict[str, tuple[int, int]]) -> np.ndarray:
    """Times "N" without a year or a date: a step back by over half a ``period`` in an episode starts the next one.

    ``turns`` keeps the last time and the number of turns of each episode for the next call.
    """
    out = ticks.copy()
    for group, rows in _runs(groups, len(ticks)):
        last, count = turns.get(group, (int(ticks[rows][0]), 0))
        counts = count + np.cumsum(np.diff(ticks[rows], prepend=last) < -period // 2)
        out[rows] += period * counts
        turns[group] = (int(ticks[rows][-1]), int(counts[-1]))
    return out


def without_leap_day(ticks: np.ndarray) -> np.ndarray:
    """Times "N" in 2000, moved to a year without 29 February."""
    march = np.datetime64("2000-03-01", "ns").astype(np.int64)
    return np.where(ticks >= march, ticks - DAY, ticks)


def text_of(ticks: np.int64) -> str:
    """A time as text, to the second."""
    return str(ticks.astype("datetime64[ns]").astype("datetime64[s]")).replace("T", " ")


def _runs(groups: np.ndarray | None, count: int) -> Iterator[tuple[str, slice]]:
    """Each run of rows of one group."""
    if not count:
        return
    edges = np.flatnonzero(groups[1:] != groups[:-1]) + 1 if groups is not None else np.zeros(0, int)
    for start, stop in zip([0, *edges], [*edges, count], strict=True):
        yield "" if groups is None else str(groups[start]), slice(start, stop)
