"""CSV and Parquet tables with one row per step, read as a stream. Rows of one episode are contiguous."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import LogSpec, combine, require_path
from pipeline.ingest.sources.clock import Clock
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.table_cells import numbers
from pipeline.ingest.sources.table_columns import Column, find_columns
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_episode import EpisodeBuilder
from pipeline.ingest.sources.table_files import TableFile, file_notes, table_files
from pipeline.ingest.sources.table_rows import Rows, concatenate
from pipeline.ingest.validate import check_column

if TYPE_CHECKING:
    import pyarrow as pa

FIX = "add a last row without an action to each episode, name the true ends in `dataset.terminal_column`"


@dataclass(frozen=True)
class SplitFiles:
    """The files of the train or the held-out split, or of both if ``held_out`` is None."""

    path: Path
    files: list[TableFile]
    held_out: bool | None


class Table:
    """Source of CSV and Parquet tables."""

    Config = TableConfig

    def __init__(self, config: TableConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for missing files, files that are not tables, and missing columns."""
        config, params = self.config, ("path", "held_out_path")
        parts = [
            SplitFiles(path, table_files(require_path(path, param), config.text), held_out)
            for (path, held_out), param in zip(config.parts, params, strict=False)
        ]
        files = [file for part in parts for file in part.files]
        for file in files:
            names = file.names()
            for param, name in config.single.items():
                check_column(str(file.path), name, names, param)
        reader = Reader(config, files)
        remarks = Remarks(warnings=file_notes(files))
        spec = LogSpec(obs_dim=len(reader.features), obs_names={"state": reader.features})
        size = sum(reader.size(file) for file in files)
        return combine(config, "table", spec, reader.all_episodes(parts, remarks), 0, [], size, remarks=remarks)


class Reader:
    """Reads the episodes of files. Raises ValueError for missing columns and for actions that are text."""

    def __init__(self, config: TableConfig, files: list[TableFile]) -> None:
        self.config = config
        self.clock = Clock(config.time_format, config.time_zone)
        if config.time_column is not None:
            self.clock.learn(files, config.time_column)
        self.obs = find_columns(files, config.obs_columns, "obs_columns", config.categorical_columns)
        self.next_obs: list[Column] = []
        if config.next_obs_columns:
            self.obs, self.next_obs = with_next(files, config, self.obs)
        self.action = find_columns(files, config.action_columns, "action_columns", [])
        self.features = [feature for column in self.obs for feature in column.features]
        for column in self.action:
            if column.categories is not None:
                problem = f"action column `{column.name}` is text ({', '.join(column.categories[:3])})"
                fix = "number its values, and set `dataset.action_kind: discrete`"
                raise ValueError(f"{config.path}: {problem}; {fix}")

    def size(self, file: TableFile) -> int:
        """Bytes of the prepared arrays; 0 for CSV, whose number of rows is unknown."""
        actions = sum(len(column.features) for column in self.action)
        rows = file.rows()
        return 0 if rows is None else 4 * rows * (len(self.features) + actions + 2)

    def all_episodes(self, parts: list[SplitFiles], remarks: Remarks) -> Iterator[Episode]:
        """Episodes in order; adds dropped steps and warnings to ``remarks``. Raises ValueError for bad rows."""
        last_steps = LastSteps(self.config.path, self.config.max_dropped_return, FIX)
        builders = []
        for part in parts:
            builders.append(EpisodeBuilder(self.config, self.features, last_steps, self.clock, part.held_out))
            yield from self._episodes(part, builders[-1])
            remarks.warnings += [f"{part.path.name}: {warning}" for warning in builders[-1].warnings()]
        last_steps.report(remarks)
        remarks.warnings += unused_rewards(last_steps, builders)

    def _episodes(self, part: SplitFiles, builder: EpisodeBuilder) -> Iterator[Episode]:
        names: set[str] = set()
        for file in part.files:
            builder.set_place(file.place)
            for name, rows in self._runs(file):
                if name in names:
                    column = self.config.episode_column
                    fix = f"sort the rows by `{column}`, or use a unique value per episode"
                    place = file.place(int(rows.row[0]))
                    raise ValueError(f"{place}: episode `{name}` of `{column}` continues after other episodes; {fix}")
                names.add(name)
                yield from builder.episodes(rows)

    def _runs(self, file: TableFile) -> Iterator[tuple[str, Rows]]:
        """Name and rows of each run of consecutive rows with the same episode."""
        pending: list[Rows] = []
        current: str | None = None
        for names, edges, rows in self._chunks(file):
            for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
                if current is not None and name != current:
                    yield current, concatenate(pending)
                    pending = []
                current = name
                pending.append(rows[slice(start, stop)])
        if current is not None:
            yield current, concatenate(pending)

    def _chunks(self, file: TableFile) -> Iterator[tuple[list[str], np.ndarray, Rows]]:
        """For each batch: the names of its runs of rows, the edges between the runs, and the rows."""
        first = 0
        for batch in file.batches(self.config.used):
            count = batch.num_rows
            if count:
                names, edges = self._episode_names(file, batch, first)
                episodes = np.repeat(np.array(names, object), np.diff(edges))
                yield names, edges, self._rows(file, batch, first, episodes)
            first += count

    def _rows(self, file: TableFile, batch: "pa.RecordBatch", first: int, episodes: np.ndarray) -> Rows:
        config = self.config
        count = batch.num_rows

        def number(name: str | None) -> np.ndarray:
            return numbers(file, name, batch.column(name), first) if name else np.zeros(count)

        def matrix(columns: list[Column]) -> np.ndarray:
            return np.concatenate([c.read(file, batch.column(c.name), first) for c in columns], axis=1)

        time: np.ndarray | None = None
        if (column := config.time_column) is not None:
            time = self.clock.read(file, column, batch.column(column), first, episodes)
        return Rows(
            row=np.arange(first, first + count),
            obs=matrix(self.obs),
            action=matrix(self.action),
            reward=number(config.reward_column),
            terminal=number(config.terminal_column),
            timeout=number(config.timeout_column),
            time=time,
            next_obs=matrix(self.next_obs) if self.next_obs else None,
        )

    def _episode_names(self, file: TableFile, batch: "pa.RecordBatch", first: int) -> tuple[list[str], np.ndarray]:
        """Name of each run of rows in the batch, and the edges "runs+1" between them."""
        column = self.config.episode_column
        if column is None:
            return [str(file.path)], np.array([0, batch.num_rows])
        names = np.array(batch.column(column).cast("string").to_pylist(), object)
        absent = np.flatnonzero(names == None)  # noqa: E711  # elementwise
        if absent.size:
            place = file.place(first + int(absent[0]))
            raise ValueError(f"{place}: column `{column}` is empty; fill it in every row")
        edges = np.r_[0, np.flatnonzero(names[1:] != names[:-1]) + 1, batch.num_rows]
        return names[edges[:-1]].tolist(), edges


def with_next(files: list[TableFile], config: TableConfig, obs: list[Column]) -> tuple[list[Column], list[Column]]:
    """The columns of observations and of next observations, with the same categories.

    Raises ValueError if a pair of columns differs in kind.
    """
    categorical = [config.next_obs_columns[config.obs_columns.index(name)] for name in config.categorical_columns]
    found = find_columns(files, config.next_obs_columns, "next_obs_columns", categorical)
    both: list[tuple[Column, Column]] = []
    for column, after in zip(obs, found, strict=True):
        if (column.categories is None, column.width) != (after.categories is None, after.width):
            fix = "name the columns of `dataset.next_obs_columns` in the order of obs_columns"
            raise ValueError(f"{config.path}: `{after.name}` is not of the same kind as `{column.name}`; {fix}")
        categories = sorted({*(column.categories or []), *(after.categories or [])}) if column.categories else None
        both.append((replace(column, categories=categories), replace(after, categories=categories)))
    return [column for column, _ in both], [after for _, after in both]


def unused_rewards(last_steps: LastSteps, builders: list[EpisodeBuilder]) -> list[str]:
    """A line on rewards that stand in a last row without an action. Raises ValueError if they are a large share."""
    unused = sum(builder.unused for builder in builders)
    if not unused:
        return []
    rows = sum(builder.unused_rows for builder in builders)
    share = unused / (last_steps.total + unused)
    what = f"{'1 last row' if rows == 1 else f'{rows} last rows'} without an action hold a reward"
    fix = "set `dataset.reward_offset: 1` if a reward stands one row after its action"
    problem = f"{what}, {100 * share:.3g} % of the summed absolute reward"
    if share > last_steps.allowed(rows):
        raise ValueError(f"{last_steps.place}: {problem}; {fix}, or empty those cells")
    return [f"{problem}: not used; {fix}"]
