"""Time in tables: dates as seconds, and resampling of episodes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.table_files import TableFile, numbers

if TYPE_CHECKING:
    import pyarrow as pa

JITTER = 0.05  # share of a step by which evenly spaced rows may deviate


@dataclass
class Clock:
    """Reads a time column. Dates become seconds since the first one, so that float64 is exact to the nanosecond."""

    origin: int | None = field(default=None)

    def read(self, file: TableFile, name: str, array: "pa.Array", first: int) -> np.ndarray:
        """Times float64 "N"; ``first`` is the file's row of the first cell. Raises ValueError for any other cell."""
        import pyarrow as pa

        dates = self._dates(array)
        if dates is None:
            seconds = numbers(file, name, array, first)
        elif dates.null_count:
            seconds = np.where(dates.is_null().to_numpy(zero_copy_only=False), np.nan, 0.0)
        else:
            ticks = dates.cast(pa.int64()).to_numpy(zero_copy_only=False)
            self.origin = int(ticks[0]) if self.origin is None else self.origin
            seconds = (ticks - self.origin) / 1e9
        if not np.isfinite(seconds).all():
            row = first + int(np.flatnonzero(~np.isfinite(seconds))[0])
            raise ValueError(f"{file.place(row)}: column `{name}`: no time; fill it in every row")
        return seconds

    def _dates(self, array: "pa.Array") -> "pa.Array | None":
        """Timestamps or durations in nanoseconds; None if the column holds numbers."""
        import pyarrow as pa

        kind = array.type
        if pa.types.is_timestamp(kind):
            return array.cast(pa.timestamp("ns", kind.tz))
        if pa.types.is_duration(kind):
            return array.cast(pa.duration("ns"))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            for zone in (None, "UTC"):
                try:
                    return array.cast(pa.timestamp("ns", zone))
                except pa.ArrowInvalid:
                    continue
        return None


def even_step(time: np.ndarray) -> float:
    """Median distance between the times "T+1" of an episode of at least one step."""
    return float(np.median(np.diff(time)))


def first_gap(time: np.ndarray, step: float) -> int | None:
    """The first of the times "T+1" whose distance to the next differs from ``step`` by more than :data:`JITTER`."""
    uneven = np.flatnonzero(np.abs(np.diff(time) - step) > JITTER * step)
    return int(uneven[0]) if uneven.size else None


def resampled(
    time: np.ndarray, obs: np.ndarray, action: np.ndarray, reward: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Resample an episode to the grid time[0], time[0] + step, ... up to the first point at or after its end.

    Observations "T+1 O" and actions "T A" are those of the last row at or before a grid point: no interpolation, and no
    information from the future. Rewards "T" are summed over each step. The fourth result counts steps without a row.
    """
    slack = 1e-6  # share of a step: rounding must not move times off the grid
    clock = (time - time[0]) / step
    steps = max(1, int(np.ceil(clock[-1] - slack)))
    row = np.searchsorted(clock, np.arange(steps + 1) + slack, side="right") - 1
    of_step = np.floor(clock[:-1] + slack).astype(int)
    summed = np.bincount(of_step, weights=reward, minlength=steps)
    empty = steps - len(np.unique(of_step))
    return obs[row], action[row[:-1]], summed, empty
