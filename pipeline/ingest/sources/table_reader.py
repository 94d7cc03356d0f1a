"""Read the rows of tables, episode by episode."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.clock import Clock, time_cells
from pipeline.ingest.sources.table_cells import labels, numbers
from pipeline.ingest.sources.table_columns import Column, find_columns
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.table_rows import Rows, concatenate

if TYPE_CHECKING:
    import pyarrow as pa

SORTED_BYTES = 1 << 28  # files up to this size are sorted by episode if they are not
SORTED_MEMORY = 1 << 30  # bytes of rows that are sorted at most


class Reader:
    """Reads the rows of files. Raises ValueError for missing columns and for actions that are text.

    ``interleaved`` are the names of files whose rows were sorted by episode, ``repeated`` the names of episodes that
    stand in several files.
    """

    def __init__(self, config: TableConfig, files: list[TableFile]) -> None:
        self.config = config
        self.clock = Clock(config.time_format, config.time_zone)
        if config.time_column is not None:
            self.clock.learn(files, config.time_column, config.time_of_day_column)
        self.interleaved: list[str] = []
        self.repeated: set[str] = set()
        self._file_of: dict[str, Path] = {}
        self.obs = find_columns(files, config.observed, "obs_columns", config.categorical_columns)
        self.next_obs: list[Column] = []
        if config.next_obs_columns:
            self.obs, self.next_obs = with_next(files, config, self.obs)
        self.action = find_columns(files, config.action_columns, "action_columns", [])
        self.cost = find_columns(files, config.cost_columns, "cost_columns", []) if config.cost_columns else []
        for what, columns in {"action": self.action, "cost": self.cost}.items():
            for column in columns:
                if column.categories is not None:
                    problem = f"{what} column `{column.name}` is text ({', '.join(column.categories[:3])})"
                    fix = "number its values" + (
                        ", and set `dataset.action_kind: discrete`" if what == "action" else ""
                    )
                    raise ValueError(f"{config.path}: {problem}; {fix}")

    @property
    def features(self) -> dict[str, slice]:
        """The place of each column's features among the observations, by the name of the column."""
        stops = np.cumsum([0, *(len(column.features) for column in self.obs)]).tolist()
        return {c.name: slice(*edge) for c, edge in zip(self.obs, pairwise(stops), strict=True)}

    @property
    def columns(self) -> list[str]:
        """The column that each feature of the observations is from."""
        return [column.name for column in self.obs for _ in column.features]

    def size(self, file: TableFile) -> int:
        """Bytes of the prepared arrays; 0 for CSV, whose number of rows is unknown."""
        columns = sum(len(column.features) for column in [*self.obs, *self.action, *self.cost])
        rows = file.rows()
        return 0 if rows is None else 4 * rows * (columns + 2)

    def episodes(self, file: TableFile) -> Iterator[Rows]:
        """The rows of each episode of a file. Raises ValueError for bad cells and for a large file that is unsorted."""
        column = self.config.episode_column
        if column is not None and file.path.stat().st_size <= SORTED_BYTES and not _is_sorted(file, column):
            self.interleaved = [*dict.fromkeys([*self.interleaved, file.path.name])]
            yield from self._sorted(file)
            return
        names: set[str] = set()
        for name, rows in self._runs(file):
            if name in names:
                fix = f"sort the file by `{column}`: only files of up to {SORTED_BYTES >> 20} MiB are sorted here"
                raise ValueError(self._continues(file, int(rows.row[0]), name, fix))
            names.add(name)
            self._note(file, name)
            yield rows

    def _sorted(self, file: TableFile) -> Iterator[Rows]:
        """The rows of each episode, in the order of their first rows.

        Raises ValueError if episodes do not alternate row by row, nor go on in time: two may then have the same name.
        """
        parts: list[Rows] = []
        codes: list[np.ndarray] = []
        code_of: dict[str, int] = {}
        size = 0
        for names, edges, rows in self._chunks(file):
            size += rows.size
            if size > SORTED_MEMORY:
                fix = f"sort the file by `{self.config.episode_column}`: its rows take too much memory to sort here"
                raise ValueError(f"{file.path}: its episodes alternate; {fix}")
            of_run = np.array([code_of.setdefault(name, len(code_of)) for name in names])
            codes.append(np.repeat(of_run, np.diff(edges)))
            parts.append(rows)
        episode, rows = np.concatenate(codes), concatenate(parts)
        starts = np.r_[0, np.flatnonzero(np.diff(episode)) + 1]
        again = np.setdiff1d(starts, np.unique(episode, return_index=True)[1])  # rows where one continues
        names = list(code_of)
        if rows.time is None and len(rows) > 2 * len(starts):
            fix = "use a unique value per episode, sort the rows by it, or name `dataset.time_column`"
            raise ValueError(self._continues(file, int(again[0]), names[episode[again[0]]], fix))
        order = np.argsort(episode, kind="stable")
        for code, chosen in enumerate(np.split(order, np.cumsum(np.bincount(episode))[:-1])):
            time = rows[chosen].time
            if time is not None and (back := np.flatnonzero(np.diff(time) < 0)).size:
                fix = "use a unique value per episode, since its time is earlier there"
                raise ValueError(self._continues(file, int(chosen[back[0] + 1]), names[code], fix))
            self._note(file, names[code])
            yield rows[chosen]

    def _note(self, file: TableFile, name: str) -> None:
        if self._file_of.setdefault(name, file.path) != file.path:
            self.repeated.add(name)

    def _continues(self, file: TableFile, row: int, name: str, fix: str) -> str:
        column = self.config.episode_column
        return f"{file.place(row)}: episode `{name}` of `{column}` continues after other episodes; {fix}"

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
            cells = time_cells(file, batch, column, config.time_of_day_column)
            time = self.clock.read(file, column, cells, first, episodes)
        group = config.group_column
        obs = matrix(self.obs)
        next_obs = np.full_like(obs, np.nan) if self.next_obs else None
        if next_obs is not None:
            given = matrix(self.next_obs)  # the exogenous columns beyond obs_columns have none
            next_obs[:, : given.shape[1]] = given
        return Rows(
            row=np.arange(first, first + count),
            obs=obs,
            action=matrix(self.action),
            reward=number(config.reward_column),
            terminal=number(config.terminal_column),
            timeout=number(config.timeout_column),
            time=time,
            next_obs=next_obs,
            cost=matrix(self.cost) if self.cost else None,
            group=_labels(file, group, batch, first) if group else None,
        )

    def _episode_names(self, file: TableFile, batch: "pa.RecordBatch", first: int) -> tuple[list[str], np.ndarray]:
        """Name of each run of rows in the batch, and the edges "runs+1" between them."""
        column = self.config.episode_column
        if column is None:
            return [str(file.path)], np.array([0, batch.num_rows])
        names = _labels(file, column, batch, first)
        edges = np.r_[0, np.flatnonzero(names[1:] != names[:-1]) + 1, batch.num_rows]
        return names[edges[:-1]].tolist(), edges


def with_next(files: list[TableFile], config: TableConfig, obs: list[Column]) -> tuple[list[Column], list[Column]]:
    """The columns of observations and of next observations, with the same categories.

    Raises ValueError if a pair of columns differs in kind.
    """
    categorical = [
        after
        for name, after in zip(config.obs_columns, config.next_obs_columns, strict=True)
        if name in config.categorical_columns
    ]
    next_obs = find_columns(files, config.next_obs_columns, "next_obs_columns", categorical)
    columns, next_columns = list(obs), []
    for i, after in enumerate(next_obs):
        column = obs[i]
        if (column.categories is None, column.width) != (after.categories is None, after.width):
            fix = "name the columns of `dataset.next_obs_columns` in the order of obs_columns"
            raise ValueError(f"{config.path}: `{after.name}` is not of the same kind as `{column.name}`; {fix}")
        categories = sorted({*(column.categories or []), *(after.categories or [])}) if column.categories else None
        columns[i] = replace(column, categories=categories)
        next_columns.append(replace(after, categories=categories))
    return columns, next_columns


def _labels(file: TableFile, name: str, batch: "pa.RecordBatch", first: int) -> np.ndarray:
    """Cells as text, object "N". Raises ValueError if one is empty."""
    import pyarrow.compute as pc

    array = pc.dictionary_encode(labels(file, batch.column(name)))
    if array.null_count:
        place = file.place(first + int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]))
        raise ValueError(f"{place}: column `{name}` is empty; fill it in every row")
    return np.array(array.dictionary.to_pylist(), object)[array.indices.to_numpy()]


def _is_sorted(file: TableFile, column: str) -> bool:
    """Whether the rows of each episode stand together."""
    import pyarrow.compute as pc

    ended: set[str | None] = set()
    current: str | None = None
    for batch in file.batches([column]):
        for name in pc.run_end_encode(labels(file, batch.column(column))).values.to_pylist():
            if name != current:
                ended.add(current)
                if name in ended:
                    return False
                current = name
    return True
