"""Gaps in time: distances between rows that are too long to be one step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.clock import Clock
from pipeline.ingest.sources.table_time import even_step, first_gap
from pipeline.validation import counted

if TYPE_CHECKING:
    from pipeline.ingest.sources.table_config import TableConfig

SPLIT, REFUSE, HOLD = GAPS = ("split", "refuse", "hold")
MOST_CUTS = 0.2  # share of the distances: a log with more gaps is not one with gaps, but with rows at odd times


class UnevenError(ValueError):
    """Rows are not evenly spaced in time; ``step`` is the median distance between them."""

    def __init__(self, message: str, step: float) -> None:
        super().__init__(message)
        self.step = step


@dataclass
class Gaps:
    """Finds the gaps of a log's episodes and counts them for the warning."""

    config: "TableConfig"
    clock: Clock
    place: Callable[[int], str] = field(default=str)  # of a row of the file, in messages
    step: float | None = None  # of the grid, or the median distance in the first episode
    distances: int = 0
    count: int = 0
    longest: float = 0.0

    def cuts(self, row: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Whether an episode is to end after each of its rows but the last, bool "N-1".

        ``row`` are the numbers of its rows in the file, ``time`` their times, "N" each. Raises UnevenError for rows at
        odd times that are not to be resampled, and ValueError for a gap that is refused.
        """
        if len(time) < 2:
            return np.zeros(0, bool)
        if self.step is None:
            self.step = self.config.resample or even_step(time)  # of the first episode, for all
        distance = np.diff(time)
        gaps = distance > self.config.max_gap * self.step
        self.distances += len(distance)
        if gaps.any():
            self._note(row, distance, gaps)
        if self.config.resample is None:
            self._check_even(row, time, gaps)
        return gaps if self.config.gaps == SPLIT else np.zeros_like(gaps)

    def warnings(self, path: str) -> list[str]:
        """A line on the gaps. Raises ValueError for a log that has so many that it would fall into pieces."""
        if not self.count:
            return []
        what = (
            f"{counted(self.count, 'gap')} of more than {self.config.max_gap:g} steps of {self.text(self.step or 0.0)}"
        )
        if self.config.gaps == HOLD:
            return [f"{what}, the longest of {self.text(self.longest)}: the last row is held over them"]
        if self.count > max(2, MOST_CUTS * self.distances):
            fix = "a longer `dataset.resample`, or `dataset.gaps: hold` with it if a row is only written on a change"
            raise ValueError(f"{path}: {what} in {self.distances} distances between rows; set {fix}")
        return [f"{what}, the longest of {self.text(self.longest)}: the episode is split there"]

    def text(self, time: float) -> str:
        """A time with its unit."""
        return f"{time:g}{self.clock.unit}"

    def _note(self, row: np.ndarray, distance: np.ndarray, gaps: np.ndarray) -> None:
        self.count += int(gaps.sum())
        self.longest = max(self.longest, float(distance[gaps].max()))
        if self.config.gaps == REFUSE:
            t = int(distance.argmax())
            limit = f"more than {self.config.max_gap:g} steps of {self.text(self.step or 0.0)}"
            problem = f"`{self.config.time_column}` has a gap of {self.text(float(distance[t]))}, {limit}"
            fix = "set `dataset.gaps: split`, or raise `dataset.max_gap`"
            raise ValueError(f"{self.place(row[t + 1])}: {problem}; {fix}")

    def _check_even(self, row: np.ndarray, time: np.ndarray, gaps: np.ndarray) -> None:
        step = self.step
        assert step is not None
        later = np.cumsum(np.where(gaps, np.diff(time) - step, 0.0))
        if (t := first_gap(time - np.r_[0.0, later], step)) is not None:
            fix = f"repair it, or set `dataset.resample: {_round(step):g}`"
            distance = f"{self.text(float(time[t + 1] - time[t]))} after the previous row, {self.text(step)} elsewhere"
            problem = f"{self.place(row[t + 1])}: `{self.config.time_column}` is {distance}"
            raise UnevenError(f"{problem}; {fix}", _round(step))


def _round(step: float) -> float:
    """The shortest number within one percent of a step: jitter moves the median off the logger's own step."""
    return next(short for digits in range(1, 17) if abs((short := float(f"{step:.{digits}g}")) - step) <= 0.01 * step)
