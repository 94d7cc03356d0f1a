"""The first rows of a table, column by column, for guesses from content."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.clock import Clock
from pipeline.ingest.sources.dates import AmbiguousDatesError, has_date
from pipeline.ingest.sources.table_cells import labels, numbers, parses
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.text_cells import BOOLEANS, is_number

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 100_000
CELLS = 5_000_000
MOSTLY = 0.8  # share of the cells of a column that are numbers, for the rest to be words for a missing value
FEW = 0.1  # share of the different cells that such words may be

NUMBER, DATE, TEXT, LIST, EMPTY = "number", "date", "text", "list", "empty"


@dataclass(frozen=True)
class SampleColumn:
    """A column of "N" rows. ``values`` are numbers, seconds of dates, or codes of texts; NaN where a cell is empty."""

    name: str
    kind: str
    values: np.ndarray
    texts: list[str] = field(default_factory=list)  # the texts that codes stand for; of numbers: other cells
    width: int = 1  # numbers in a cell
    of_day: bool = False  # whether dates are times of a day alone
    formats: tuple[str, ...] = ()  # of dates whose days and months cannot be told apart: the likelier one first

    @property
    def filled(self) -> np.ndarray:
        """The values that are not missing."""
        return self.values[~np.isnan(self.values)]

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.kind == NUMBER and bool((self.filled == np.round(self.filled)).all()) and len(self.filled) > 0

    @property
    def constant(self) -> bool:
        """Whether all values are equal."""
        return self.kind != LIST and len(self.filled) > 0 and bool((self.filled == self.filled[0]).all())

    @property
    def missing(self) -> float:
        """Share of the cells that are empty."""
        return float(np.isnan(self.values).mean()) if len(self.values) else 0.0


@dataclass(frozen=True)
class Sample:
    """Rows of a table: ``columns`` by name, the index of the ``file`` of each row, and whether these are all rows."""

    columns: dict[str, SampleColumn]
    file: np.ndarray
    complete: bool
    nameless: list[str] = field(default_factory=list)  # columns without a name among others that have one
    headless: bool = False  # whether no column has a name

    def __len__(self) -> int:
        return len(self.file)

    def by_episode(self, episode: str) -> "Sample":
        """The rows sorted by the column ``episode`` if those of several episodes alternate."""
        values = self.columns[episode].values
        if 2 * len(np.unique(values)) > len(self.starts(episode)):
            return self
        order = np.lexsort((values, self.file))
        columns = {name: replace(column, values=column.values[order]) for name, column in self.columns.items()}
        return replace(self, columns=columns, file=self.file[order])

    def starts(self, episode: str | None) -> np.ndarray:
        """The first row of each episode: where the file or the column ``episode`` changes."""
        changes = np.diff(self.file) != 0
        if episode is not None:
            values = self.columns[episode].values
            changes = changes | (values[1:] != values[:-1])
        return np.r_[0, np.flatnonzero(changes) + 1]


def read_sample(files: list[TableFile], time_format: str | None = None) -> Sample:
    """The first rows of the files; ``time_format`` is that of the times, None if it is recognized.

    Raises ValueError for files that cannot be read, or that hold no rows.
    """
    names = files[0].names()
    limit = max(1, min(ROWS, CELLS // len(names)))
    parts: list[pa.RecordBatch] = []
    file_of: list[np.ndarray] = []
    count, complete = 0, True
    for index, file in enumerate(files):
        if set(names) - set(file.names()):
            continue  # the source names the column that is missing
        for batch in file.batches(names):
            batch = batch.slice(0, limit - count)
            parts.append(batch)
            file_of.append(np.full(batch.num_rows, index))
            count += batch.num_rows
            if count >= limit:
                break
        if count >= limit:
            complete = False
            break
    if not count:
        raise ValueError(f"{files[0].path}: holds no rows; name another file")
    columns = {name: _column(files[0], name, [part.column(name) for part in parts], time_format) for name in names}
    unnamed = files[0].dialect.unnamed if files[0].dialect else ()
    headless = len(unnamed) >= len(names)
    return Sample(columns, np.concatenate(file_of), complete, [] if headless else list(unnamed), headless)


def _column(file: TableFile, name: str, chunks: "Iterable[pa.Array]", time_format: str | None) -> SampleColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    file = file.part(name)
    array = pa.chunked_array(list(chunks)).combine_chunks()
    if array.null_count == len(array) or (_is_text(array.type) and labels(file, array).null_count == len(array)):
        return SampleColumn(name, EMPTY, np.full(len(array), np.nan))
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(array).drop_null()
        return SampleColumn(name, LIST, np.zeros(len(array)), width=int(pc.max(lengths).as_py()))
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
    if _is_text(array.type):
        return _of_text(file, name, array, time_format)
    if pa.types.is_temporal(array.type):
        return _of_dates(file, name, array, None) or SampleColumn(name, EMPTY, np.full(len(array), np.nan))
    return SampleColumn(name, NUMBER, np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False)))


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_text(file: TableFile, name: str, array: "pa.Array", time_format: str | None) -> SampleColumn:
    """Numbers, dates or texts, whichever the cells are."""
    try:
        return SampleColumn(name, NUMBER, numbers(file, name, array, 0))
    except ValueError:
        pass
    encoded = labels(file, array).dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    code = encoded.indices.to_numpy(zero_copy_only=False).astype(float)
    counts = np.bincount(code[~np.isnan(code)].astype(int), minlength=len(cells))
    values = _numbers(file, name, cells)
    words = [cell for cell, value in zip(cells, values, strict=True) if np.isnan(value)]
    if counts[~np.isnan(values)].sum() >= MOSTLY * counts.sum() and len(words) <= max(3, FEW * len(cells)):
        return SampleColumn(name, NUMBER, _look_up(values, code), words)
    return _of_dates(file, name, array, time_format) or SampleColumn(name, TEXT, code, cells)


def _numbers(file: TableFile, name: str, cells: list[str]) -> np.ndarray:
    """The numbers in the cells, true and false as 1 and 0; NaN for other text."""
    import pyarrow as pa

    if {cell.lower() for cell in cells} <= set(BOOLEANS):
        return np.array([float(cell.lower() == "true") for cell in cells])
    values = np.full(len(cells), np.nan)
    chosen = [i for i, cell in enumerate(cells) if is_number(cell)]
    if not chosen:
        return values
    try:
        values[chosen] = numbers(file, name, pa.array([cells[i] for i in chosen], pa.string()), 0)
    except ValueError:  # in another notation than the first lines of the file
        values[chosen] = [np.nan if not parses(file, cells[i]) else 0.0 for i in chosen]
    return values


def _look_up(values: np.ndarray, code: np.ndarray) -> np.ndarray:
    """``values`` of the codes; NaN for the code NaN."""
    out = np.full(len(code), np.nan)
    filled = ~np.isnan(code)
    out[filled] = values[code[filled].astype(int)]
    return out


def _of_dates(
    file: TableFile, name: str, array: "pa.Array", time_format: str | None, formats: tuple[str, ...] = ()
) -> SampleColumn | None:
    """Seconds since the first date; None if a cell is no date."""
    filled = array.is_valid().to_numpy(zero_copy_only=False)
    values = np.full(len(array), np.nan)
    for groups in (None, np.arange(filled.sum())):  # days alone may repeat in different groups only
        clock = Clock(time_format, "UTC")  # in the zone of a place, the change of clocks might need to be told
        try:
            values[filled] = clock.read(file, name, array.drop_null(), 0, groups)
            break
        except AmbiguousDatesError as error:
            choices = [_of_dates(file, name, array, one, error.formats) for one in error.formats]
            return min((c for c in choices if c is not None), key=_unevenness, default=None)
        except ValueError:
            continue
    else:
        return None
    if clock.origin is None:
        return None
    likelier = sorted(formats, key=lambda one: one != time_format)
    of_day = clock.time_format is not None and not has_date(clock.time_format)
    return SampleColumn(name, DATE, values, of_day=of_day, formats=tuple(likelier))


def _unevenness(column: SampleColumn) -> int:
    """How many different steps there are between the rows."""
    return len(np.unique(np.diff(column.filled)))
