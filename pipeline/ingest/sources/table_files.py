"""CSV and Parquet files, a bounded number of rows at a time: which columns there are, and their numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ingest.validate import check_column

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, BYTES = 1 << 14, 1 << 22  # of Parquet and of CSV held in memory at a time
PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz", ".tsv")
MOST_CATEGORIES = 64


@dataclass(frozen=True)
class TableFile:
    """One file. Cells of CSV are read as text, so that a number is refused or converted here, in one place."""

    path: Path
    delimiter: str | None = None

    @property
    def parquet(self) -> bool:
        return self.path.name.endswith(PARQUET)

    def place(self, row: int) -> str:
        """Where a message points: the line of a text file whose header is line 1, else the row from 0 on."""
        return f"{self.path}: row {row}" if self.parquet else f"{self.path}: line {row + 2}"

    def names(self) -> list[str]:
        """Raises ValueError for files that are empty or cannot be read, and for names that occur twice."""
        with self._readable():
            names = list(self._open([]).schema_arrow.names if self.parquet else self._open(None).schema.names)
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.path}: columns named twice: {', '.join(sorted(twice))}; rename them")
        return names

    def kinds(self) -> dict[str, str]:
        """What each column holds, as far as the first rows tell."""
        with self._readable():
            schema = self._open([]).schema_arrow if self.parquet else self._open(None).schema
            return {found.name: str(found.type) for found in schema}

    def rows(self) -> int | None:
        """How many rows there are, where the file says so."""
        with self._readable():
            return int(self._open([]).metadata.num_rows) if self.parquet else None

    def batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        """Raises ValueError for lines of the wrong length and the like."""
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
            raise ValueError(f"{self.path}: empty, cut or not {what} ({reason}); write the file again{fix}") from None


def table_files(path: Path, delimiter: str | None) -> list[TableFile]:
    """The file, or those of a folder in the order of their names. Raises ValueError when there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    known = [TableFile(file, delimiter) for file in files if file.name.endswith((*PARQUET, *CSV))]
    if not known:
        raise ValueError(f"{path}: no table; expected {', '.join((*CSV, *PARQUET))}, or a folder of them")
    return known


@dataclass(frozen=True)
class Column:
    """A column of observations or actions, and the features it becomes: one; one for each of its ``categories``; or
    ``width`` of them where its cells are lists of numbers."""

    name: str
    categories: list[str] | None = None
    width: int | None = None

    @property
    def features(self) -> list[str]:
        if self.categories is not None:
            return [f"{self.name}={category}" for category in self.categories]
        return [self.name] if self.width is None else [f"{self.name}[{i}]" for i in range(self.width)]

    def read(self, file: TableFile, array: "pa.Array", first: int) -> np.ndarray:
        """float "N features", NaN where a cell is empty; ``first`` is the file's row of the first cell. Raises
        ValueError for cells that are not what the column holds elsewhere."""
        if self.categories is not None:
            labels = np.array(array.cast("string").to_pylist(), object)
            hot = (labels[:, None] == np.array(self.categories, object)).astype(np.float32)
            hot[labels == None] = np.nan  # noqa: E711  # elementwise
            return hot
        if self.width is None:
            return numbers(file, self.name, array, first)[:, None]
        return _vectors(file, self.name, array, first, self.width)


def find_columns(files: list[TableFile], wanted: list[str], param: str, categorical: list[str]) -> list[Column]:
    """What each wanted column holds, told by the first rows; all files are read through where there are categories.
    Raises ValueError for absent columns and for columns that mix text with numbers."""
    import pyarrow as pa

    for file in files:
        names = file.names()
        for name in wanted:
            check_column(str(file.path), name, names, param)
    first = next(files[0].batches(wanted), None)
    if first is None:
        raise ValueError(f"{files[0].path}: holds no rows")
    found = []
    for name in wanted:
        array = first.column(name)
        if _is_list(array.type):
            width = len(array[0]) if len(array) and array[0].is_valid else 0
            found.append(Column(name, width=width))
        elif name in categorical or _is_text(files[0], name, array):
            found.append(Column(name, _categories(files, name)))
        elif pa.types.is_string(array.type) or pa.types.is_boolean(array.type) or _is_number(array.type):
            found.append(Column(name))
        else:
            raise ValueError(f"{files[0].path}: column `{name}` holds {array.type}; convert it to numbers or text")
    return found


def numbers(file: TableFile, name: str, array: "pa.Array", first: int) -> np.ndarray:
    """float64 "N", NaN where a cell is empty; true and false are 1 and 0. Raises ValueError at the first other text."""
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


def is_number(text: Any) -> bool:
    """Whether a cell is empty or a number."""
    try:
        float(text) if text is not None else None
    except (TypeError, ValueError):
        return False
    return True


def _is_text(file: TableFile, name: str, array: "pa.Array") -> bool:
    """Whether no cell is a number. Raises ValueError when some are."""
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
        raise ValueError(f"{file.place(row)}: column `{name}` holds numbers, but here `{text[0]}`; {fix}")
    return bool(text)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _categories(files: list[TableFile], name: str) -> list[str]:
    """Every value of a column in all files, sorted."""
    found: set[str] = set()
    for file in files:
        for batch in file.batches([name]):
            found |= set(batch.column(name).cast("string").drop_null().unique().to_pylist())
            if len(found) > MOST_CATEGORIES:
                fix = "a feature for each is too many: leave the column out, or group them"
                raise ValueError(f"{file.path}: column `{name}` has over {MOST_CATEGORIES} different values; {fix}")
    return sorted(found)


def _vectors(file: TableFile, name: str, array: "pa.Array", first: int, width: int) -> np.ndarray:
    """float64 "N width"; an absent list is a row of NaN."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((lengths != width) & (lengths > 0))
    if wrong.size:
        got = f"{lengths[wrong[0]]} numbers, expected {width} as in the first row"
        raise ValueError(f"{file.place(first + int(wrong[0]))}: column `{name}` has {got}; repair the row")
    found = np.full((len(array), width), np.nan)
    filled = lengths == width
    found[filled] = numbers(file, name, pc.list_flatten(array.filter(filled)), first).reshape(-1, width)
    return found
