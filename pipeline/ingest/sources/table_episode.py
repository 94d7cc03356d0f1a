"""Turn the rows of a table into episodes: sort, validate, split at gaps, find the final observation, resample."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import field

import numpy as np

from pipeline.data.episode import Episode
from pipeline.ingest.sources.clock import Clock
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_empty import EmptyCells
from pipeline.ingest.sources.table_gaps import Gaps
from pipeline.ingest.sources.table_measured import Watched, mark, with_ages
from pipeline.ingest.sources.table_resample import Resampler
from pipeline.ingest.sources.table_rows import Rows, concatenate, repeats, shifted
from pipeline.validation import counted


@dataclasses.dataclass
class EpisodeBuilder:
    """Turns the rows of one file or folder into episodes and counts the corrections for the warnings.

    ``columns`` are the columns that the features of an observation are from; ``place`` maps a row of the file to the
    text that messages use.
    """

    config: TableConfig
    columns: list[str]
    watched: list[Watched]
    last_steps: LastSteps
    clock: Clock
    held_out: bool | None
    gaps: Gaps = field(init=False)
    cells: EmptyCells = field(init=False)
    resampler: Resampler = field(init=False)
    sorted: int = 0
    both: int = 0
    breaks: int = 0
    without_step: int = 0
    inner_ends: int = 0
    replaced: int = 0
    unused: float = 0.0  # summed |reward| of last rows without an action
    unused_rows: int = 0

    def __post_init__(self) -> None:
        self.gaps, self.resampler = Gaps(self.config, self.clock), Resampler(self.config, self.clock)
        self.cells = EmptyCells(self.config, self.columns)

    def set_place(self, place: Callable[[int], str]) -> None:
        """Set the file that the next rows are from."""
        self.place = self.gaps.place = self.cells.place = place

    def episodes(self, rows: Rows) -> Iterator[Episode]:
        """The episode of the given rows, or the episodes that it is split into.

        Raises ValueError for rows that are not a valid episode.
        """
        rows = self._in_order(rows)
        stops = self._marked(rows)
        for start, stop in zip([0, *stops], [*stops, len(rows)], strict=True):
            part = rows[start:stop]
            yield from self._between_marks(shifted(part, self.config.action_offset, self.config.reward_offset))

    def _between_marks(self, rows: Rows) -> Iterator[Episode]:
        steps = np.flatnonzero(~rows.without_action)
        if not steps.size:
            self.without_step += 1
            return
        last = int(steps[-1])
        terminated = self._terminated(rows, last)
        rows, group = self.cells.checked(rows), self.cells.group(rows)
        if last + 1 < len(rows):
            beyond = np.abs(np.nan_to_num(rows.reward[last + 1 :]))
            self.unused += float(beyond.sum())
            self.unused_rows += int((beyond > 0).sum())
        cuts = (np.flatnonzero(self._cuts(rows)) + 1).tolist()
        for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            ends = terminated and start <= last < stop and not rows.without_action[last]
            piece = self._complete(self.cells.known(rows[start:stop]), ends)
            if piece is not None:
                yield self._episode(piece, ends, group)

    def warnings(self) -> list[str]:
        """One line for each kind of correction made so far. Raises ValueError for a log that falls into pieces."""
        lines = self.gaps.warnings(self.config.path)
        if self.sorted:
            lines.append(f"rows of {counted(self.sorted, 'episode')} were sorted by `{self.config.time_column}`")
        if self.replaced:
            rows = counted(self.replaced, "row has", "rows have")
            lines.append(f"{rows} the same time as the next one: only that one counts")
        if self.inner_ends:
            ends = counted(self.inner_ends, "end is", "ends are")
            lines.append(f"{ends} marked inside a file: another episode starts after it")
        if self.breaks:
            rows = counted(self.breaks, "row has", "rows have")
            what = f"{rows} a next observation that is not the observation of the next row"
            lines.append(f"{what}: the episode is split there, as at a time limit")
        if self.without_step:
            episodes = counted(self.without_step, "episode holds", "episodes hold")
            lines.append(f"{episodes} no step (an action and an observation after it): left out")
        if self.both:
            ends = counted(self.both, "episode ends", "episodes end")
            lines.append(
                f"{ends} with a terminal and a timeout: counted as a termination; set "
                "`dataset.terminal_includes_timeouts: true` if it is a time limit"
            )
        return [*lines, *self.cells.warnings(), *self.resampler.warnings()]

    def _marked(self, rows: Rows) -> list[int]:
        """The rows after marked ends inside a file whose episodes nothing else tells apart."""
        if self.config.episode_column is not None or not (rows.terminal.any() or rows.timeout.any()):
            return []
        marks = np.nan_to_num(rows.terminal) + np.nan_to_num(rows.timeout) > 0
        ends = np.r_[marks[:-1] & ~rows.without_action[1:], True]
        ends[1:] |= marks[:-1] & rows.without_action[1:]  # a final observation follows the mark
        stops = (np.flatnonzero(ends)[:-1] + 1).tolist()
        self.inner_ends += len(stops)
        return stops

    def _in_order(self, rows: Rows) -> Rows:
        if rows.time is None:
            return rows
        if (np.diff(rows.time) < 0).any():
            self.sorted += 1
            rows = rows[np.argsort(rows.time, kind="stable")]
        assert rows.time is not None
        if (np.diff(rows.time) == 0).any():
            rows = self._without_repeats(rows, rows.time)
        return rows

    def _without_repeats(self, rows: Rows, time: np.ndarray) -> Rows:
        """The rows without those that are written twice, and on a grid without those that a row at their time replaces.

        Raises ValueError where that would lose an action, an end, or an amount.
        """
        same = np.diff(time) == 0
        final = rows.without_action
        plain = ~final[:-1] & ~final[1:] & (np.nan_to_num(rows.terminal + rows.timeout)[:-1] == 0)
        on_grid = self.config.resample is not None and self.config.reward_resample != "sum"
        lost = same & ~repeats(rows) & ~(plain & on_grid)
        if lost.any():
            t = int(np.flatnonzero(lost)[0]) + 1
            fix = "remove one of the two rows, or set `dataset.episode_column` to the column that separates episodes"
            fix += "" if on_grid else ", or `dataset.resample`, where the later row counts"
            other = self.place(rows.row[t - 1]).rpartition(": ")[2]
            raise ValueError(f"{self.place(rows.row[t])}: same time as {other}; {fix}")
        self.replaced += int(same.sum())
        return rows[np.append(~same, True)]

    def _terminated(self, rows: Rows, last: int) -> bool:
        """Whether the episode terminated; the last action or the final observation may hold the mark."""
        ends = {name: self._mark(rows, name, last) for name in ("terminal", "timeout")}
        if ends["terminal"] and ends["timeout"]:
            self.both += not self.config.terminal_includes_timeouts
            return not self.config.terminal_includes_timeouts
        return ends["terminal"]

    def _mark(self, rows: Rows, name: str, last: int) -> bool:
        marks, column = vars(rows)[name], self.config.single.get(f"{name}_column")
        if not marks.any():  # an empty cell counts as set here, and as 0 below
            return False
        marks = np.nan_to_num(marks)
        if (other := (marks != 0) & (marks != 1)).any():
            row = rows.row[other][0]
            raise ValueError(f"{self.place(row)}: column `{column}` must hold only 0 and 1; repair it")
        if marks[:last].any():
            row = rows.row[np.flatnonzero(marks[:last])[0]]
            fix = "start a new episode after it, or correct the mark"
            raise ValueError(f"{self.place(row)}: `{column}` is set, but the episode continues; {fix}")
        return bool(marks[last:].any())

    def _cuts(self, rows: Rows) -> np.ndarray:
        """Whether an episode ends after each row but the last, bool "N-1"."""
        cuts = rows.without_action[:-1]
        if rows.next_obs is not None:
            after, obs = rows.next_obs[:-1], rows.obs[1:]
            breaks = (~np.isclose(after, obs, rtol=1e-5, atol=1e-6) & np.isfinite(after) & np.isfinite(obs)).any(axis=1)
            cuts = cuts | breaks
            self.breaks += int(breaks.sum())
        if rows.time is not None:
            cuts = cuts | self.gaps.cuts(rows.row, rows.time)
        return cuts

    def _complete(self, rows: Rows, terminated: bool) -> Rows | None:
        """The rows of an episode up to its final observation, "T+1"; None if no step is left."""
        if not len(rows) or rows.without_action.all():
            return None
        has_final = bool(rows.without_action[-1])
        self.last_steps.count(rows.reward[: len(rows) - has_final])
        if has_final:
            return rows
        empty = np.full_like(rows.obs[-1:], np.nan)
        after = empty if rows.next_obs is None else rows.next_obs[-1:]
        if np.isfinite(after).any():
            return self._with_final(rows, after)
        if terminated:
            self.last_steps.keep()
            return self._with_final(rows, empty)
        self.last_steps.drop(rows.reward[-1:])
        return rows if len(rows) > 1 else None

    def _with_final(self, rows: Rows, obs: np.ndarray) -> Rows:
        """The rows and a last one with the final observation "1 O", a step later; empty cells repeat the last one."""
        final = dataclasses.replace(rows[-1:], obs=obs)
        if rows.time is not None:
            final = dataclasses.replace(final, time=rows.time[-1:] + (self.gaps.step or 1.0))
        return concatenate([rows, final])

    def _episode(self, rows: Rows, terminated: bool, group: str | None) -> Episode:
        span = None if rows.time is None else (float(rows.time[0]), float(rows.time[-1]))
        rows = mark(rows, self.watched)
        if rows.time is not None and self.config.resample is not None:
            rows = self.resampler.on_grid(rows, rows.time, self.config.resample)
        obs = rows.obs if rows.measured is None else with_ages(rows.obs, rows.measured)
        cost = None if rows.cost is None else rows.cost[:-1]
        return Episode({"state": obs}, rows.action[:-1], rows.reward[:-1], terminated, self.held_out, cost, group, span)
