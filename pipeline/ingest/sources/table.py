"""CSV and Parquet tables with one row per step, read as a stream. Rows of one episode are contiguous."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import LogSpec, combine, require_path
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_episode import EpisodeBuilder, Rows, concatenate
from pipeline.ingest.sources.table_files import Column, TableFile, find_columns, numbers, table_files
from pipeline.ingest.sources.table_time import Clock
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
            SplitFiles(path, table_files(require_path(path, param), config.delimiter), held_out)
            for (path, held_out), param in zip(config.parts, params, strict=False)
        ]
        files = [file for part in parts for file in part.files]
        for file in files:
            names = file.names()
            for param, name in config.single.items():
                check_column(str(file.path), name, names, param)
        reader = Reader(
            config,
            find_columns(files, config.obs_columns, "obs_columns", config.categorical_columns),
            find_columns(files, config.action_columns, "action_columns", []),
        )
        remarks = Remarks()
        spec = LogSpec(obs_dim=len(reader.features), obs_names={"state": reader.features})
        size = sum(reader.size(file) for file in files)
        return combine(config, "table", spec, reader.all_episodes(parts, remarks), 0, [], size, remarks=remarks)


class Reader:
    """Reads the episodes of files with given columns. Raises ValueError for actions that are text."""

    def __init__(self, config: TableConfig, obs: list[Column], action: list[Column]) -> None:
        self.config = config
        self.obs = obs
        self.action = action
        self.features = [feature for column in obs for feature in column.features]
        for column in action:
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
        for part in parts:
            yield from self._episodes(part, EpisodeBuilder(self.config, str, self.features, last_steps), remarks)
        last_steps.report(remarks)

    def _episodes(self, part: SplitFiles, builder: EpisodeBuilder, remarks: Remarks) -> Iterator[Episode]:
        names: set[str] = set()
        for file in part.files:
            builder.place = file.place
            for name, rows in self._runs(file):
                if name in names:
                    column = self.config.episode_column
                    fix = f"sort the rows by `{column}`, or use a unique value per episode"
                    place = file.place(int(rows.row[0]))
                    raise ValueError(f"{place}: episode `{name}` of `{column}` continues after other episodes; {fix}")
                names.add(name)
                arrays = builder.episode(rows)
                if arrays is not None:
                    obs, action, reward, terminated = arrays
                    yield Episode({"state": obs}, action, reward, terminated, part.held_out)
        remarks.warnings += [f"{part.path.name}: {warning}" for warning in builder.warnings()]

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
        clock = Clock()
        first = 0
        for batch in file.batches(self.config.used):
            count = batch.num_rows
            if count:
                rows = self._rows(file, batch, first, clock)
                yield *self._episode_names(file, batch, first), rows
            first += count

    def _rows(self, file: TableFile, batch: "pa.RecordBatch", first: int, clock: Clock) -> Rows:
        config = self.config
        count = batch.num_rows

        def flag(name: str | None) -> np.ndarray:
            return numbers(file, name, batch.column(name), first) if name else np.zeros(count)

        def matrix(columns: list[Column]) -> np.ndarray:
            return np.concatenate([c.read(file, batch.column(c.name), first) for c in columns], axis=1)

        time_column = config.time_column
        return Rows(
            row=np.arange(first, first + count),
            obs=matrix(self.obs),
            action=matrix(self.action),
            reward=numbers(file, config.reward_column, batch.column(config.reward_column), first),
            terminal=flag(config.terminal_column),
            timeout=flag(config.timeout_column),
            time=clock.read(file, time_column, batch.column(time_column), first) if time_column else None,
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
