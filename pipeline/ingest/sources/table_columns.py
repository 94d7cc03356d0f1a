"""Columns of tables: their kinds, and the features that their cells become."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.table_cells import labels, not_a_number, numbers, parses, shown
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.text_cells import has_unit, is_date, is_number
from pipeline.ingest.validate import check_column

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES = 64


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
            cells = np.array(labels(file, array).to_pylist(), object)
            hot = (cells[:, None] == np.array(self.categories, object)).astype(np.float32)
            hot[cells == None] = np.nan  # noqa: E711  # elementwise
            return hot
        if self.width is None:
            return numbers(file, self.name, array, first)[:, None]
        return _vectors(file, self.name, array, first, self.width)


def find_columns(files: list[TableFile], wanted: list[str], param: str, categorical: list[str]) -> list[Column]:
    """The wanted columns, with types inferred from the first rows. To find all categories, all files are read.

    ``param`` is the key of params.yaml that names the columns; those in ``categorical`` are text even if they look like
    numbers. Raises ValueError for missing columns and for columns that mix text with numbers.
    """

    for file in files:
        names = file.names()
        for name in wanted:
            check_column(str(file.path), name, names, param)
    first = next(files[0].batches(wanted), None)
    if first is None:
        raise ValueError(f"{files[0].path}: holds no rows; name another file")
    return [_column(files, name, first.column(name), param, name in categorical) for name in wanted]


def _column(files: list[TableFile], name: str, array: "pa.Array", param: str, categorical: bool) -> Column:
    """A column whose first cells are ``array``. Raises ValueError for dates and for text mixed with numbers."""
    import pyarrow as pa

    file, kind = files[0].part(name), array.type
    if _is_list(kind):
        return Column(name, width=len(array[0]) if len(array) and array[0].is_valid else 0)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        raise ValueError(f"{file.path}: column `{name}` holds dates or times; {_not_a_feature(param)}")
    if categorical or (pa.types.is_dictionary(kind) and not _is_number(kind.value_type)):
        return Column(name, _categories(files, name))
    if pa.types.is_boolean(kind) or _is_number(kind.value_type if pa.types.is_dictionary(kind) else kind):
        return Column(name)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"{file.path}: column `{name}` holds {kind}; convert it to numbers or text")
    try:
        numbers(file, name, array, 0)
    except ValueError:
        _check_text(file, name, labels(file, array), param)
        return Column(name, _categories(files, name))
    return Column(name)


def _not_a_feature(param: str) -> str:
    return f"name it in `dataset.time_column`, and remove it from `dataset.{param}`"


def _check_text(file: TableFile, name: str, text: "pa.Array", param: str) -> None:
    """Raises ValueError unless trimmed cells, which are not all numbers, are labels of categories."""
    import pyarrow.compute as pc

    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(text.drop_null()).to_pylist()}
    words = [cell for cell in counts if not parses(file, cell)]
    place = f"{file.place(text.to_pylist().index(words[0]))}: column `{name}`"
    if all(map(is_date, words)) and not all(map(is_number, words)):
        raise ValueError(f"{place} holds dates or times (`{words[0]}`); {_not_a_feature(param)}")
    if (other := next((word for word in words if is_number(word) or has_unit(word)), None)) is not None:
        raise ValueError(f"{place}: {not_a_number(file, other)}")
    if 2 * sum(counts[word] for word in words) < sum(counts.values()):
        fix = f"set `dataset.na_values: {shown(words)}` if that means a missing value, else repair it"
        raise ValueError(f"{place} holds numbers, but `{words[0]}` here; {fix}")
    if len(words) < len(counts):
        fix = "repair it, or list the column in `dataset.categorical_columns`"
        raise ValueError(f"{place} holds text and numbers, such as `{words[0]}`; {fix}")


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
            values |= set(labels(file, batch.column(name)).drop_null().unique().to_pylist())
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
