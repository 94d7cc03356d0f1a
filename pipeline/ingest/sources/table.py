"""CSV and Parquet tables with one row per step, read as a stream. Rows of one episode are contiguous."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import LogSpec, combine, require_path
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.table_columns import Column
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_episode import EpisodeBuilder
from pipeline.ingest.sources.table_files import TableFile, file_notes
from pipeline.ingest.sources.table_folder import check_widths, table_files
from pipeline.ingest.sources.table_measured import AUTO, MASK, Watched, survey, watched_columns
from pipeline.ingest.sources.table_reader import Reader
from pipeline.ingest.validate import check_column
from pipeline.validation import counted

FIX = "name the true ends in `dataset.terminal_column` or the next states in `dataset.next_obs_columns`"


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
            SplitFiles(path, table_files(require_path(path, param), config.text, config.files, config.used), held_out)
            for (path, held_out), param in zip(config.parts, params, strict=False)
        ]
        files = [file for part in parts for file in part.files]
        check_widths(files)
        for file in files:
            names = file.names()
            for param, name in config.single.items():
                check_column(str(file.path), name, names, param)
            for name in config.observed[len(config.obs_columns) :]:
                check_column(str(file.path), name, names, "exogenous_columns")
        reader = Reader(config, files)
        log = TableLog(config, reader, watch(config, reader, files))
        remarks = Remarks(warnings=file_notes(files))
        spec = LogSpec(
            obs_names={"state": log.features},
            action_names=[feature for column in reader.action for feature in column.features],
            units=units_of(files[0], [*reader.obs, *reader.action]),
        )
        size = sum(reader.size(file) for file in files)
        logged = combine(config, "table", spec, log.episodes(parts, remarks), 0, [], size, remarks=remarks)
        added = [name for column in log.watched for name in column.added]
        costs = [feature for column in reader.cost for feature in column.features]
        return replace(logged, exogenous=added, flags=log.flags, cost_names=costs)


def units_of(file: TableFile, columns: list[Column]) -> dict[str, str]:
    """Units of the features of ``columns``, as ``file`` has them; a category has none."""
    numeric = [column for column in columns if column.categories is None]
    return {name: unit for column in numeric if (unit := file.unit(column.name)) for name in column.features}


@dataclass(frozen=True)
class TableLog:
    """The episodes of a log, and the names of their features."""

    config: TableConfig
    reader: Reader
    watched: list[Watched]

    @property
    def names(self) -> list[str]:
        """Features of the columns alone."""
        return [feature for column in self.reader.obs for feature in column.features]

    @property
    def features(self) -> list[str]:
        """All features: those of the columns, then those that are added for watched columns."""
        return [*self.names, *(name for column in self.watched for name in column.added)]

    @property
    def flags(self) -> dict[str, str]:
        """The features of watched columns, and the feature that tells whether each was measured."""
        names = self.names
        return {name: column.added[0] for column in self.watched for name in names[column.features]}

    def episodes(self, parts: list[SplitFiles], remarks: Remarks) -> Iterator[Episode]:
        """Episodes in order; adds dropped steps and warnings to ``remarks``. Raises ValueError for bad rows."""
        last_steps = LastSteps(self.config.path, self.config.max_dropped_return, FIX)
        builders, count = [], 0
        for part in parts:
            builder = EpisodeBuilder(
                self.config, self.reader.columns, self.watched, last_steps, self.reader.clock, part.held_out
            )
            builders.append(builder)
            for file in part.files:
                builder.set_place(file.place)
                for rows in self.reader.episodes(file):
                    for episode in builder.episodes(rows):
                        count += 1
                        yield episode
            remarks.warnings += [f"{part.path.name}: {warning}" for warning in builder.warnings()]
        if not count:
            reasons = "; ".join(remarks.warnings) or "each episode is one row: name another `dataset.episode_column`"
            raise ValueError(f"{self.config.path}: no step is left; {reasons}")
        last_steps.report(remarks)
        remarks.warnings += [*unused_rewards(last_steps, builders), *self._order()]

    def _order(self) -> Iterator[str]:
        """Lines on files whose rows were sorted, and on names that stand in several files."""
        files = self.reader.interleaved
        if files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            yield f"rows of different episodes alternate in {files[0]}{more}: sorted by `{self.config.episode_column}`"
        if repeated := len(self.reader.repeated):
            stand = f"{counted(repeated, 'value')} of `{self.config.episode_column}` stand in several files"
            yield f"{stand}: they count as different episodes"


def watch(config: TableConfig, reader: Reader, files: list[TableFile]) -> list[Watched]:
    """The columns that are not measured in every row. Reads the log once if it has to tell which ones these are."""
    auto = {name for name, every in config.update_every.items() if every == AUTO}
    surveys = {}
    if auto or config.missing == MASK:
        rows = (rows for file in files for rows in reader.episodes(file))
        surveys = survey(rows, reader.features, auto)
    return watched_columns(surveys, reader.features, config.update_every, config.missing == MASK)


def unused_rewards(last_steps: LastSteps, builders: list[EpisodeBuilder]) -> list[str]:
    """A line on rewards that stand in a last row without an action. Raises ValueError if they are a large share."""
    unused = sum(builder.unused for builder in builders)
    if not unused:
        return []
    rows = sum(builder.unused_rows for builder in builders)
    share = unused / (last_steps.total + unused)
    what = f"{counted(rows, 'last row')} without an action hold a reward"
    fix = "set `dataset.reward_offset: 1` if a reward stands one row after its action"
    problem = f"{what}, {100 * share:.3g} % of the summed absolute reward"
    if last_steps.too_much(unused, rows, last_steps.total, last_steps.steps):
        raise ValueError(f"{last_steps.place}: {problem}; {fix}, or empty those cells")
    return [f"{problem}: not used; {fix}"]
