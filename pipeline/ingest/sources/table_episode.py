"""Turn the rows of a table into an episode: sort, validate, find the final observation, resample."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_time import even_step, first_gap, resampled


class UnevenError(ValueError):
    """Rows are not evenly spaced in time; ``step`` is the median distance between them."""

    def __init__(self, message: str, step: float) -> None:
        super().__init__(message)
        self.step = step


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one episode; empty cells are NaN."""

    row: np.ndarray  # "N", index in the file
    obs: np.ndarray  # "N O"
    action: np.ndarray  # "N A"
    reward: np.ndarray  # "N"
    terminal: np.ndarray  # "N"
    timeout: np.ndarray  # "N"
    time: np.ndarray | None  # "N"

    def __getitem__(self, chosen: slice | np.ndarray) -> "Rows":
        arrays: dict[str, Any] = {name: array if array is None else array[chosen] for name, array in vars(self).items()}
        return Rows(**arrays)


def concatenate(parts: list[Rows]) -> Rows:
    """One run of rows from consecutive parts of it."""
    names = [name for name, array in vars(parts[0]).items() if array is not None]
    arrays: dict[str, Any] = {name: np.concatenate([vars(part)[name] for part in parts]) for name in names}
    return Rows(**{"time": None, **arrays})


@dataclasses.dataclass
class EpisodeBuilder:
    """Turns rows into episodes and counts the corrections for the warnings.

    ``place`` maps a row of the file to the text that messages use; ``features`` are the names of the observations.
    """

    config: TableConfig
    place: Callable[[int], str]
    features: list[str]
    last_steps: LastSteps
    step: float | None = None
    sorted: int = 0
    both: int = 0
    empty_steps: int = 0
    steps: int = 0

    def episode(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool] | None:
        """obs "T+1 O", action "T A", reward "T" and whether the episode terminated; None if no step is left.

        Raises ValueError for rows that are not a valid episode.
        """
        rows = self._in_order(rows)
        has_final = self._check_cells(rows)
        last = len(rows.row) - 1 - has_final  # the last row with an action
        terminated = self._terminated(rows, last)
        self._check_even(rows)
        self.last_steps.count(rows.reward[: last + 1])
        if not has_final and terminated:
            self.last_steps.keep()
            rows = self._with_final(rows)
        elif not has_final:
            self.last_steps.drop(rows.reward[last:])
        steps = len(rows.row) - 1
        if steps == 0:
            return None
        obs, action, reward = rows.obs, rows.action[:steps], rows.reward[:steps]
        if rows.time is not None and self.config.resample is not None:
            obs, action, reward = self._on_grid(rows, rows.time, self.config.resample)
        return obs, action, reward, terminated

    def warnings(self) -> list[str]:
        """One line for each kind of correction made so far."""
        lines = []
        if self.sorted:
            lines.append(f"rows of {self.sorted} episodes were sorted by `{self.config.time_column}`")
        if self.both:
            lines.append(
                f"{self.both} episodes end with a terminal and a timeout: counted as terminations; set "
                "`dataset.terminal_includes_timeouts: true` if they are time limits"
            )
        if self.config.resample:
            lines.append(
                f"resampled to {self.steps} steps of {self.config.resample:g}: each has the last observation and "
                f"action at or before it, and the sum of rewards; {self.empty_steps} steps contain no row"
            )
        return lines

    def _in_order(self, rows: Rows) -> Rows:
        if rows.time is None:
            return rows
        if (np.diff(rows.time) < 0).any():
            self.sorted += 1
            rows = rows[np.argsort(rows.time, kind="stable")]
        assert rows.time is not None
        if (np.diff(rows.time) == 0).any():
            t = int(np.flatnonzero(np.diff(rows.time) == 0)[0]) + 1
            fix = "remove one of the two rows, or set `dataset.episode_column` to the column that separates episodes"
            other = self.place(rows.row[t - 1]).rpartition(": ")[2]
            raise ValueError(f"{self.place(rows.row[t])}: same time as {other}; {fix}")
        return rows

    def _check_cells(self, rows: Rows) -> bool:
        """Whether the last row is a final observation without an action. Raises ValueError for other empty cells."""
        empty = np.isnan(rows.action)
        final = empty.all(axis=1)
        if (partly := empty.any(axis=1) & ~final).any():
            place, columns = self.place(rows.row[partly][0]), ", ".join(self.config.action_columns)
            raise ValueError(f"{place}: part of the action ({columns}) is empty; fill it")
        if final[:-1].any():
            fix = "only the last row of an episode may have none: fill it, or start a new episode after it"
            raise ValueError(f"{self.place(rows.row[:-1][final[:-1]][0])}: no action; {fix}")
        if final.all():
            raise ValueError(f"{self.place(rows.row[0])}: the episode has no action; remove it")
        self._check_filled(rows.obs, rows, self.features)
        kept = rows[~final]
        for param, name in self.config.single.items():
            if param != "episode_column":
                self._check_filled(vars(kept)[param.removesuffix("_column")][:, None], kept, [name])
        return bool(final[-1])

    def _check_filled(self, array: np.ndarray, rows: Rows, names: list[str]) -> None:
        invalid = ~np.isfinite(array)
        if invalid.any():
            t, feature = (int(i) for i in np.argwhere(invalid)[0])
            value = "empty" if np.isnan(array[t, feature]) else f"{array[t, feature]}"
            raise ValueError(f"{self.place(rows.row[t])}: column `{names[feature]}`: {value}; repair or remove the row")

    def _terminated(self, rows: Rows, last: int) -> bool:
        """Whether the episode terminated; the last action or the final observation may hold the mark."""
        ends = {name: self._mark(rows, name, last) for name in ("terminal", "timeout")}
        if ends["terminal"] and ends["timeout"]:
            self.both += not self.config.terminal_includes_timeouts
            return not self.config.terminal_includes_timeouts
        return ends["terminal"]

    def _mark(self, rows: Rows, name: str, last: int) -> bool:
        marks = np.nan_to_num(getattr(rows, name))
        column = getattr(self.config, f"{name}_column")
        if not np.isin(marks, (0, 1)).all():
            row = rows.row[~np.isin(marks, (0, 1))][0]
            raise ValueError(f"{self.place(row)}: column `{column}` must hold only 0 and 1; repair it")
        if marks[:last].any():
            row = rows.row[np.flatnonzero(marks[:last])[0]]
            fix = "start a new episode after it, or correct the mark"
            raise ValueError(f"{self.place(row)}: `{column}` is set, but the episode continues; {fix}")
        return bool(marks[last:].any())

    def _with_final(self, rows: Rows) -> Rows:
        """The rows and a copy of the last one, a step later, as the final observation."""
        later = rows[-1:]
        if rows.time is not None:
            later = dataclasses.replace(later, time=rows.time[-1:] + (self.config.resample or self.step or 1.0))
        return concatenate([rows, later])

    def _check_even(self, rows: Rows) -> None:
        """Raises UnevenError if the rows are not evenly spaced in time, unless they are to be resampled."""
        time = rows.time
        if time is None or self.config.resample is not None or len(time) < 2:
            return
        self.step = even_step(time) if self.step is None else self.step
        if (gap := first_gap(time, self.step)) is not None:
            fix = f"repair it, or set `dataset.resample: {self.step:g}`"
            distance = time[gap + 1] - time[gap]
            problem = f"`{self.config.time_column}` is {distance:g} after the previous row, {self.step:g} elsewhere"
            raise UnevenError(f"{self.place(rows.row[gap + 1])}: {problem}; {fix}", self.step)

    def _on_grid(self, rows: Rows, time: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        distance = np.diff(time)
        if distance.max() > self.config.max_gap * step:
            gap = int(distance.argmax())
            fix = "start a new episode after it, or raise `dataset.max_gap`"
            problem = f"`{self.config.time_column}` has a gap of {distance[gap]:g}, more than {self.config.max_gap:g}"
            raise ValueError(f"{self.place(rows.row[gap + 1])}: {problem} steps; {fix}")
        obs, action, reward, empty = resampled(time, rows.obs, rows.action[:-1], rows.reward[:-1], step)
        self.steps, self.empty_steps = self.steps + len(action), self.empty_steps + empty
        return obs, action, reward
