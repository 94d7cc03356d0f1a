"""Time in tables: clocks as seconds, and episodes put on an even grid."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.table_files import TableFile, numbers

if TYPE_CHECKING:
    import pyarrow as pa

JITTER = 0.05  # share of a step by which even rows may be off


@dataclass
class Clock:
    """Numbers as they are; dates as seconds since the first one seen, so that float64 keeps them to the nanosecond."""

    origin: int | None = field(default=None)

    def read(self, file: TableFile, name: str, array: "pa.Array", first: int) -> np.ndarray:
        """float64 "N". Raises ValueError for cells that are empty, and for those that are neither."""
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
            raise ValueError(f"{file.place(row)}: column `{name}`: no time; give every row its time")
        return seconds

    def _dates(self, array: "pa.Array") -> "pa.Array | None":
        """Nanoseconds, or None where the column holds numbers."""
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
    """The usual distance between rows, from the times "T+1" of an episode of one step or more."""
    return float(np.median(np.diff(time)))


def first_gap(time: np.ndarray, step: float) -> int | None:
    """The first row of "T+1" whose distance to the next one is not ``step``, give or take :data:`JITTER`."""
    off = np.flatnonzero(np.abs(np.diff(time) - step) > JITTER * step)
    return int(off[0]) if off.size else None


def resampled(
    time: np.ndarray, obs: np.ndarray, action: np.ndarray, reward: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """An episode on the grid time[0], time[0] + step, ... up to the first point at or after its end.

    Observations "T+1 O" and actions "T A" are those of the last row at or before a grid point, so nothing is invented
    or seen early; rewards "T" are summed over each step. The fourth result counts steps in which no row falls.
    """
    slack = 1e-6  # of a step: times that are meant to lie on the grid do so
    clock = (time - time[0]) / step
    steps = max(1, int(np.ceil(clock[-1] - slack)))
    row = np.searchsorted(clock, np.arange(steps + 1) + slack, side="right") - 1
    of_step = np.floor(clock[:-1] + slack).astype(int)
    summed = np.bincount(of_step, weights=reward, minlength=steps)
    empty = steps - len(np.unique(of_step))
    return obs[row], action[row[:-1]], summed, empty
