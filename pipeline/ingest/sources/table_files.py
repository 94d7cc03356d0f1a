"""Read the columns of CSV and Parquet files, a limited number of rows at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ingest.validate import check_column

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 14  # rows of Parquet in memory at a time
BYTES = 1 << 22  # bytes of CSV in memory at a time
PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz", ".tsv")
MOST_CATEGORIES = 64


@dataclass(frozen=True)
class TableFile:
    """One file. Cells of CSV are read as text and converted by :func:`numbers`, so that errors name the line."""

    path: Path
    delimiter: str | None = None

    @property
    def parquet(self) -> bool:
        """Whether the file is Parquet rather than CSV."""
        return self.path.name.endswith(PARQUET)

    def place(self, row: int) -> str:
        """The place of a row in messages: the line of a CSV file (header: line 1), the row of Parquet (from 0)."""
        return f"{self.path}: row {row}" if self.parquet else f"{self.path}: line {row + 2}"

    def names(self) -> list[str]:
        """Names of the columns. Raises ValueError for unreadable or empty files and for duplicate names."""
        with self._readable():
            names = list(self._open([]).schema_arrow.names if self.parquet else self._open(None).schema.names)
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.path}: duplicate columns {', '.join(sorted(twice))}; rename them")
        return names

    def kinds(self) -> dict[str, str]:
        """Data type of each column, for CSV inferred from the first rows. Raises ValueError for unreadable files."""
        with self._readable():
            schema = self._open([]).schema_arrow if self.parquet else self._open(None).schema
            return {column.name: str(column.type) for column in schema}

    def rows(self) -> int | None:
        """Number of rows; None for CSV, which does not store it."""
        with self._readable():
            return int(self._open([]).metadata.num_rows) if self.parquet else None

    def batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        """Batches of rows with the given columns. Raises ValueError for malformed files."""
        with self._readable():
            reader = self._open(columns)
            yield from reader.iter_batches(ROWS, columns=columns) if self.parquet else reader

    def _open(self, columns: list[str] | None) -> Any:
        if self.parquet:
            import pyarrow.parquet as pq

            return pq.ParquetFile(self.path)
        import pyarrow as pa
        from pyarrow import csv

        delimiter = self.delimiter or ("\t" if self.path.suffix == ".tsv" else ",")
        text = {} if columns is None else {name: pa.string() for name in columns}
        return csv.open_csv(
            self.path,
            csv.ReadOptions(block_size=BYTES),
            csv.ParseOptions(delimiter=delimiter),
            csv.ConvertOptions(column_types=text, include_columns=columns or [], strings_can_be_null=True),
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())[:200]
            what = "Parquet" if self.parquet else "CSV"
            fix = "" if self.parquet else " in UTF-8, or set `dataset.delimiter`"
            raise ValueError(f"{self.path}: empty, truncated or not {what} ({reason}); write it again{fix}") from None


def table_files(path: Path, delimiter: str | None) -> list[TableFile]:
    """The file, or the tables of a folder sorted by name. Raises ValueError if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    tables = [TableFile(file, delimiter) for file in files if file.name.endswith((*PARQUET, *CSV))]
    if not tables:
        raise ValueError(f"{path}: no table; name a file with {', '.join((*CSV, *PARQUET))}, or a folder of them")
    return tables


@dataclass(frozen=True)
class Column:
    """A column of observations or actions.

    It becomes one feature; or one for each of its ``categories``; or ``width`` features if its cells are lists.
    """

    name: str
    categories: list[str] | None = None
    width: int | None = None

    @property
    def features(self) -> list[str]:
        """Names of the features that the column becomes."""
        if self.categories is not None:
            return [f"{self.name}={category}" for category in self.categories]
        return [self.name] if self.width is None else [f"{self.name}[{i}]" for i in range(self.width)]

    def read(self, file: TableFile, array: "pa.Array", first: int) -> np.ndarray:
        """Features of the cells, float "N features", NaN for an empty cell.

        ``first`` is the file's row of the first cell. Raises ValueError for cells of another type than the column.
        """
        if self.categories is not None:
            labels = np.array(array.cast("string").to_pylist(), object)
            hot = (labels[:, None] == np.array(self.categories, object)).astype(np.float32)
            hot[labels == None] = np.nan  # noqa: E711  # elementwise
            return hot
        if self.width is None:
            return numbers(file, self.name, array, first)[:, None]
        return _vectors(file, self.name, array, first, self.width)


def find_columns(files: list[TableFile], wanted: list[str], param: str, categorical: list[str]) -> list[Column]:
    """The wanted columns, with types inferred from the first rows. To find all categories, all files are read.

    ``param`` is the key of params.yaml that names the columns; those in ``categorical`` are text even if they look like
    numbers. Raises ValueError for missing columns and for columns that mix text with numbers.
    """
    import pyarrow as pa

    for file in files:
        names = file.names()
        for name in wanted:
            check_column(str(file.path), name, names, param)
    first = next(files[0].batches(wanted), None)
    if first is None:
        raise ValueError(f"{files[0].path}: holds no rows; name another file")
    columns = []
    for name in wanted:
        array = first.column(name)
        if _is_list(array.type):
            width = len(array[0]) if len(array) and array[0].is_valid else 0
            columns.append(Column(name, width=width))
        elif name in categorical or _is_text(files[0], name, array):
            columns.append(Column(name, _categories(files, name)))
        elif pa.types.is_string(array.type) or pa.types.is_boolean(array.type) or _is_number(array.type):
            columns.append(Column(name))
        else:
            raise ValueError(f"{files[0].path}: column `{name}` holds {array.type}; convert it to numbers or text")
    return columns


def numbers(file: TableFile, name: str, array: "pa.Array", first: int) -> np.ndarray:
    """Cells as float64 "N": NaN if empty, true and false as 1 and 0. Raises ValueError at the first other text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = pc.utf8_trim_whitespace(array)
        lower = pc.utf8_lower(array)
        if pc.all(pc.is_in(lower, pa.array(["true", "false", None]))).as_py() and array.null_count < len(array):
            array = pc.equal(lower, "true")
    try:
        return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row, value = next((i, v) for i, v in enumerate(array.to_pylist()) if not is_number(v))
        raise ValueError(f"{file.place(first + row)}: column `{name}`: `{value}` is not a number; repair it") from None


def is_number(cell: str | float | None) -> bool:
    """Whether a cell is empty or a number."""
    try:
        float(cell) if cell is not None else None
    except (TypeError, ValueError):
        return False
    return True


def _is_text(file: TableFile, name: str, array: "pa.Array") -> bool:
    """Whether all cells are text. Raises ValueError if some are numbers."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        return not _is_number(array.type.value_type)
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return False
    cells = array.drop_null().unique().to_pylist()
    text = [cell for cell in cells if not is_number(cell) and cell.strip().lower() not in ("true", "false")]
    if text and len(text) < len(cells):
        row = array.to_pylist().index(text[0])
        fix = "repair it, or list the column in `dataset.categorical_columns`"
        raise ValueError(f"{file.place(row)}: column `{name}` holds numbers, but `{text[0]}` here; {fix}")
    return bool(text)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _categories(files: list[TableFile], name: str) -> list[str]:
    """All values of a column in all files, sorted. Raises ValueError if there are too many."""
    values: set[str] = set()
    for file in files:
        for batch in file.batches([name]):
            values |= set(batch.column(name).cast("string").drop_null().unique().to_pylist())
            if len(values) > MOST_CATEGORIES:
                fix = "remove the column from `dataset.obs_columns`, or group its values"
                raise ValueError(f"{file.path}: column `{name}` has over {MOST_CATEGORIES} different values; {fix}")
    return sorted(values)


def _vectors(file: TableFile, name: str, array: "pa.Array", first: int, width: int) -> np.ndarray:
    """Lists as float64 "N width"; a missing list is a row of NaN. Raises ValueError for lists of another length."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
    mismatched = np.flatnonzero((lengths != width) & (lengths > 0))
    if mismatched.size:
        row = int(mismatched[0])
        count = f"{lengths[row]} numbers, expected {width} as in the first row"
        raise ValueError(f"{file.place(first + row)}: column `{name}` has {count}; repair the row")
    rows = np.full((len(array), width), np.nan)
    filled = lengths == width
    rows[filled] = numbers(file, name, pc.list_flatten(array.filter(filled)), first).reshape(-1, width)
    return rows
