"""One episode of a table: rows put in order and checked, and the row that holds the final observation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.ingest.sources.base import SourceConfig
from pipeline.ingest.sources.table_time import even_step, first_gap, resampled


@dataclass(frozen=True)
class TableConfig(SourceConfig):
    """Columns of a CSV or Parquet file, or of a folder of them. Text becomes one 0/1 feature a category, a column of
    lists one feature an entry; units are left alone.

    ``episode_column`` null: each file is an episode. ``terminal_column`` null: no episode truly ends.
    ``time_column`` holds numbers or dates; null: rows stand in their order, evenly. ``resample`` is the step, in
    seconds or the unit of the column, of an even grid (:func:`pipeline.ingest.sources.table_time.resampled`); gaps of
    more than ``max_gap`` steps are refused. ``categorical_columns`` are text though they look like numbers."""

    obs_columns: list[str] = field(default_factory=list)
    action_columns: list[str] = field(default_factory=list)
    reward_column: str = "reward"
    terminal_column: str | None = "terminal"
    timeout_column: str | None = None
    episode_column: str | None = "episode"
    time_column: str | None = None
    terminal_includes_timeouts: bool = False
    categorical_columns: list[str] = field(default_factory=list)
    resample: float | None = None
    max_gap: float = 10.0
    delimiter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for param in ("obs_columns", "action_columns"):
            if not getattr(self, param):
                raise ValueError(f"{param} is empty: name columns; `python -m pipeline inspect FILE` proposes some")
        for names in ([*self.obs_columns, *self.action_columns], list(self.single.values())):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"columns {sorted(twice)} are named twice; give each one meaning")
        if unknown := set(self.categorical_columns) - set(self.obs_columns):
            raise ValueError(f"categorical_columns: {sorted(unknown)} are not among obs_columns")
        if self.resample is not None and (self.time_column is None or self.resample <= 0):
            raise ValueError(f"resample {self.resample}: give a positive step, and `time_column`")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f"delimiter `{self.delimiter}` must be one character")

    @property
    def single(self) -> dict[str, str]:
        """The columns that each have a param of their own."""
        params = ("reward_column", "terminal_column", "timeout_column", "episode_column", "time_column")
        return {param: name for param in params if (name := getattr(self, param)) is not None}

    @property
    def used(self) -> list[str]:
        return list(dict.fromkeys([*self.obs_columns, *self.action_columns, *self.single.values()]))


class UnevenError(ValueError):
    """Rows that are not evenly spaced in time; ``step`` is their usual distance."""

    def __init__(self, message: str, step: float) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Rows:
    """Rows of one episode, NaN where a cell is empty."""

    row: np.ndarray  # "N", of the file
    obs: np.ndarray  # "N O"
    action: np.ndarray  # "N A"
    reward: np.ndarray  # "N"
    terminal: np.ndarray  # "N"
    timeout: np.ndarray  # "N"
    time: np.ndarray | None  # "N"

    def __getitem__(self, chosen: slice | np.ndarray) -> "Rows":
        arrays: dict[str, Any] = {name: array if array is None else array[chosen] for name, array in vars(self).items()}
        return Rows(**arrays)


def joined(parts: list[Rows]) -> Rows:
    timed = parts[0].time is not None
    names = [name for name in vars(parts[0]) if name != "time" or timed]
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Rows(**{"time": None, **arrays})


@dataclass
class Assembly:
    """Turns rows into episodes, and counts what it had to do."""

    config: TableConfig
    place: Callable[[int], str]
    features: list[str]
    step: float | None = None
    episodes: int = 0
    sorted: int = 0
    without_final: int = 0
    lost_terminals: int = 0
    both: int = 0
    empty_steps: int = 0
    steps: int = 0

    def episode(self, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool] | None:
        """obs "T+1 O", action "T A", reward "T" and whether it truly ended; None where a lone row leaves no step.
        Raises ValueError for rows that do not fit together."""
        self.episodes += 1
        rows = self._in_order(rows)
        has_final = self._check_cells(rows)
        last = len(rows.row) - 1 - has_final  # the last row with an action
        terminated = self._terminated(rows, last)
        if not has_final:
            self.without_final += 1
            self.lost_terminals += terminated
        steps = len(rows.row) - 1
        if steps == 0:
            return None
        obs, action, reward = rows.obs, rows.action[:steps], rows.reward[:steps]
        if rows.time is not None:
            obs, action, reward = self._on_grid(rows, obs, action, reward)
        return obs, action, reward, terminated and bool(has_final)

    def warnings(self) -> list[str]:
        found = []
        if self.sorted:
            found.append(f"rows of {self.sorted} episodes were not in order of `{self.config.time_column}`: sorted")
        if self.without_final:
            also = f", {self.lost_terminals} true ends among them" if self.lost_terminals else ""
            count = f"the last step of each of {self.without_final} episodes is dropped{also}"
            found.append(f"no final observation (a last row without an action): {count}")
        if self.both:
            found.append(
                f"{self.both} episodes end both truly and by time: taken as true ends; set "
                "`dataset.terminal_includes_timeouts: true` if they are time limits"
            )
        if self.config.resample:
            found.append(
                f"resampled to {self.steps} steps of {self.config.resample:g}: observations and actions of the last "
                f"row at or before each, rewards summed; in {self.empty_steps} no row falls"
            )
        return found

    def _in_order(self, rows: Rows) -> Rows:
        if rows.time is None:
            return rows
        if (np.diff(rows.time) < 0).any():
            self.sorted += 1
            rows = rows[np.argsort(rows.time, kind="stable")]
        assert rows.time is not None
        if (np.diff(rows.time) == 0).any():
            t = int(np.flatnonzero(np.diff(rows.time) == 0)[0]) + 1
            fix = "remove one of the two rows, or name the column that tells episodes apart as `dataset.episode_column`"
            raise ValueError(f"{self.place(rows.row[t])}: same time as {self._short(rows.row[t - 1])}; {fix}")
        return rows

    def _short(self, row: int) -> str:
        return self.place(row).rpartition(": ")[2]

    def _check_cells(self, rows: Rows) -> bool:
        """Whether the last row is a final observation. Raises ValueError for other empty cells."""
        empty = np.isnan(rows.action)
        final = empty.all(axis=1)
        if (partly := empty.any(axis=1) & ~final).any():
            place, columns = self.place(rows.row[partly][0]), ", ".join(self.config.action_columns)
            raise ValueError(f"{place}: part of the action ({columns}) is empty; fill it")
        if final[:-1].any():
            fix = "only an episode's last row may be a final observation: fill it, or start a new episode after it"
            raise ValueError(f"{self.place(rows.row[:-1][final[:-1]][0])}: no action; {fix}")
        if final.all():
            raise ValueError(f"{self.place(rows.row[0])}: an episode without any action; remove it")
        self._check_filled(rows.obs, rows, self.features)
        kept = rows[~final]
        for param, name in self.config.single.items():
            array = getattr(kept, param.removesuffix("_column"), None)
            if array is not None and param != "episode_column":
                self._check_filled(array[:, None], kept, [name])
        return bool(final[-1])

    def _check_filled(self, array: np.ndarray, rows: Rows, names: list[str]) -> None:
        wrong = ~np.isfinite(array)
        if wrong.any():
            t, feature = (int(i) for i in np.argwhere(wrong)[0])
            value = "empty" if np.isnan(array[t, feature]) else f"{array[t, feature]}"
            raise ValueError(f"{self.place(rows.row[t])}: column `{names[feature]}`: {value}; repair or remove the row")

    def _terminated(self, rows: Rows, last: int) -> bool:
        """Whether the episode truly ended; the mark may stand on the last action or on the final observation."""
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
            raise ValueError(f"{self.place(row)}: column `{column}` must hold 0 and 1 only; repair it")
        if marks[:last].any():
            row = rows.row[np.flatnonzero(marks[:last])[0]]
            fix = "give the rows after it another episode, or correct the mark"
            raise ValueError(f"{self.place(row)}: `{column}` is set, but the episode goes on; {fix}")
        return bool(marks[last:].any())

    def _on_grid(
        self, rows: Rows, obs: np.ndarray, action: np.ndarray, reward: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        time = rows.time
        assert time is not None
        name, distance = self.config.time_column, np.diff(time)
        if self.config.resample is None:
            self.step = even_step(time) if self.step is None else self.step
            if (gap := first_gap(time, self.step)) is not None:
                fix = f"repair it, or set `dataset.resample: {self.step:g}`"
                shown = f"`{name}` is {distance[gap]:g} after the row before, {self.step:g} elsewhere"
                raise UnevenError(f"{self.place(rows.row[gap + 1])}: {shown}; {fix}", self.step)
            return obs, action, reward
        if distance.max() > self.config.max_gap * self.config.resample:
            gap = int(distance.argmax())
            fix = "give the rows after it another episode, or raise `dataset.max_gap`"
            shown = f"a gap of {distance[gap]:g}, over {self.config.max_gap:g} steps"
            raise ValueError(f"{self.place(rows.row[gap + 1])}: `{name}` shows {shown}; {fix}")
        obs, action, reward, empty = resampled(time, obs, action, reward, self.config.resample)
        self.steps, self.empty_steps = self.steps + len(action), self.empty_steps + empty
        return obs, action, reward
