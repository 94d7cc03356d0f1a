"""CSV and Parquet tables, one row a step: columns by name, episodes one after the other, streamed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import FileFacts, combine, existing
from pipeline.ingest.sources.table_episode import Assembly, Rows, TableConfig, joined
from pipeline.ingest.sources.table_files import Column, TableFile, find_columns, numbers, table_files
from pipeline.ingest.sources.table_time import Clock
from pipeline.ingest.validate import check_column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableSplit:
    """The train or the held-out files, or both in one."""

    path: Path
    files: list[TableFile]
    held_out: bool | None


class Table:
    Config = TableConfig

    def __init__(self, config: TableConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """Raises ValueError for files that are missing or no tables, and for missing columns."""
        config, params = self.config, ("path", "held_out_path")
        parts = [
            TableSplit(path, table_files(existing(path, param), config.delimiter), held_out)
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
        episodes = (episode for part in parts for episode in reader.episodes(part, remarks))
        facts = FileFacts(obs_dim=len(reader.features), obs_names={"state": reader.features})
        size = sum(reader.size(file) for file in files)
        return combine(config, "table", facts, episodes, 0, [], size, remarks=remarks)


class Reader:
    """Episodes of files whose columns are known. Raises ValueError for actions that are text."""

    def __init__(self, config: TableConfig, obs: list[Column], action: list[Column]) -> None:
        self.config, self.obs, self.action = config, obs, action
        self.features = [feature for column in obs for feature in column.features]
        for column in action:
            if column.categories is not None:
                shown = f"action column `{column.name}` is text ({', '.join(column.categories[:3])})"
                raise ValueError(f"{config.path}: {shown}; number its values, and set `dataset.action_kind: discrete`")

    def size(self, file: TableFile) -> int:
        """Bytes once stored, as far as the file tells: text is hardly shorter than its numbers."""
        actions = sum(len(column.features) for column in self.action)
        rows = file.rows()
        return 0 if rows is None else 4 * rows * (len(self.features) + actions + 2)

    def episodes(self, part: TableSplit, remarks: Remarks) -> Iterator[Episode]:
        assembly = Assembly(self.config, str, self.features)
        seen: set[str] = set()
        for file in part.files:
            assembly.place = file.place
            for name, rows in self._runs(file):
                if name in seen:
                    column = self.config.episode_column
                    fix = f"sort the rows by `{column}`, or give each run of rows its own value"
                    place = file.place(int(rows.row[0]))
                    raise ValueError(f"{place}: episode `{name}` of `{column}` starts again after others; {fix}")
                seen.add(name)
                made = assembly.episode(rows)
                if made is not None:
                    obs, action, reward, terminated = made
                    yield Episode({"state": obs}, action, reward, terminated, part.held_out)
        remarks.dropped += assembly.without_final
        remarks.warnings += [f"{part.path.name}: {warning}" for warning in assembly.warnings()]

    def _runs(self, file: TableFile) -> Iterator[tuple[str, Rows]]:
        """Rows that stand together and share an episode."""
        waiting: list[Rows] = []
        current: str | None = None
        for names, edges, rows in self._chunks(file):
            for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
                if current is not None and name != current:
                    yield current, joined(waiting)
                    waiting = []
                current = name
                waiting.append(rows[slice(start, stop)])
        if current is not None:
            yield current, joined(waiting)

    def _chunks(self, file: TableFile) -> Iterator[tuple[list[str], np.ndarray, Rows]]:
        """The episodes in each batch, where they begin and end in it, and its rows."""
        clock, first = Clock(), 0
        for batch in file.batches(self.config.used):
            count = batch.num_rows
            if count:
                rows = self._rows(file, batch, first, clock)
                yield *self._episode_names(file, batch, first), rows
            first += count

    def _rows(self, file: TableFile, batch: "pa.RecordBatch", first: int, clock: Clock) -> Rows:
        config, count = self.config, batch.num_rows

        def flag(name: str | None) -> np.ndarray:
            return numbers(file, name, batch.column(name), first) if name else np.zeros(count)

        def matrix(columns: list[Column]) -> np.ndarray:
            return np.concatenate([c.read(file, batch.column(c.name), first) for c in columns], axis=1)

        timed = config.time_column
        return Rows(
            row=np.arange(first, first + count),
            obs=matrix(self.obs),
            action=matrix(self.action),
            reward=numbers(file, config.reward_column, batch.column(config.reward_column), first),
            terminal=flag(config.terminal_column),
            timeout=flag(config.timeout_column),
            time=clock.read(file, timed, batch.column(timed), first) if timed else None,
        )

    def _episode_names(self, file: TableFile, batch: "pa.RecordBatch", first: int) -> tuple[list[str], np.ndarray]:
        """Name of each run of rows in the batch, and the edges between runs."""
        column = self.config.episode_column
        if column is None:
            return [str(file.path)], np.array([0, batch.num_rows])
        names = np.array(batch.column(column).cast("string").to_pylist(), object)
        absent = np.flatnonzero(names == None)  # noqa: E711  # elementwise
        if absent.size:
            place = file.place(first + int(absent[0]))
            raise ValueError(f"{place}: column `{column}` is empty; name the episode of every row")
        edges = np.r_[0, np.flatnonzero(names[1:] != names[:-1]) + 1, batch.num_rows]
        return names[edges[:-1]].tolist(), edges
