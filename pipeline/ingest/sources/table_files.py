"""Read the columns of text and Parquet tables, a limited number of rows at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.ingest.sources.dialect import BLANKS, Dialect, TextOptions, recognize
from pipeline.ingest.sources.text_cells import MISSING
from pipeline.ingest.sources.text_stream import SingleBlanks, is_parquet, open_bytes
from pipeline.ingest.sources.units import unit_of_name

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

ROWS = 1 << 14  # rows of Parquet in memory at a time
BYTES = 1 << 22  # bytes of text in memory at a time


@dataclass(frozen=True)
class TableFile:
    """One file. Cells of text files are read as text and converted later, so that errors name the line."""

    path: Path
    options: TextOptions = field(default_factory=TextOptions)
    about_folder: tuple[str, ...] = ()  # what the user should know about its folder, one line each

    @property
    def parquet(self) -> bool:
        """Whether the file is Parquet rather than text."""
        return is_parquet(self.path)

    @cached_property
    def dialect(self) -> Dialect | None:
        """How the text is written; None for Parquet. Raises ValueError for empty and unreadable files."""
        return None if self.parquet else recognize(self.path, self.options)

    @property
    def decimal(self) -> str:
        """The decimal mark of numbers that are text."""
        return self.dialect.decimal if self.dialect else self.options.decimal or "."

    @property
    def thousands(self) -> str | None:
        """The separator of thousands in numbers that are text."""
        return self.dialect.thousands if self.dialect else self.options.thousands

    @property
    def notes(self) -> list[str]:
        """What the user should know about how the file was read, one line each."""
        return list(self.dialect.notes) if self.dialect else []

    def part(self, name: str) -> "TableFile":
        """The file that has the column ``name``: this one, unless several stand side by side."""
        return self

    def unit(self, name: str) -> str | None:
        """The unit of the column ``name``, from a line of units or the name itself; None if the file has none."""
        stated = self.dialect.units.get(name) if self.dialect else None
        return stated or unit_of_name(name)

    def place(self, row: int) -> str:
        """The place of a row in messages: the line of a text file, from 1, or the row of Parquet, from 0."""
        return f"{self.path}: line {row + self.dialect.header + 1}" if self.dialect else f"{self.path}: row {row}"

    def names(self) -> list[str]:
        """Names of the columns. Raises ValueError for unreadable or empty files and for duplicate names in Parquet."""
        if self.dialect:
            return self.dialect.columns
        with self._readable():
            names = list(self._parquet().schema_arrow.names)
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.path}: duplicate columns {', '.join(sorted(twice))}; rename them")
        return names

    def rows(self) -> int | None:
        """Number of rows; None for text, which does not store it."""
        if self.dialect:
            return None
        with self._readable():
            return int(self._parquet().metadata.num_rows)

    def batches(self, columns: list[str]) -> "Iterator[pa.RecordBatch]":
        """Batches of rows with the given columns. Raises ValueError for malformed files."""
        ragged: list[pa_csv.InvalidRow] = []
        with self._readable(ragged):
            if self.dialect:
                yield from _without_empty_end(self._text(self.dialect, columns, ragged))
            else:
                yield from self._parquet().iter_batches(ROWS, columns=columns)

    def _parquet(self) -> "pq.ParquetFile":
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path)

    def _text(
        self, dialect: Dialect, columns: list[str] | None, ragged: "list[pa_csv.InvalidRow]"
    ) -> "pa_csv.CSVStreamingReader":
        """A reader of ``columns`` as text, or of all with inferred types; adds rows of another length to ``ragged``."""
        import pyarrow as pa
        from pyarrow import csv

        def refuse(row: "pa_csv.InvalidRow") -> str:
            ragged.append(row)
            return "error"

        blanks = dialect.delimiter == BLANKS
        source = pa.PythonFile(SingleBlanks(self.path, dialect.encoding), "r") if blanks else open_bytes(self.path)
        text = {} if columns is None else dict.fromkeys(columns, pa.string())
        missing = [*MISSING, *(value for value in self.options.na_values if isinstance(value, str))]
        return csv.open_csv(
            source,
            csv.ReadOptions(
                use_threads=False,
                block_size=BYTES,
                skip_rows=dialect.header,
                column_names=dialect.names,
                encoding="utf-8" if blanks else dialect.encoding.removesuffix("-sig"),
            ),
            csv.ParseOptions(delimiter="\t" if blanks else dialect.delimiter, invalid_row_handler=refuse),
            csv.ConvertOptions(
                column_types=text,
                include_columns=columns or [],
                null_values=missing,
                strings_can_be_null=True,
                decimal_point=dialect.decimal,
            ),
        )

    @contextmanager
    def _readable(self, ragged: "Sequence[pa_csv.InvalidRow]" = ()) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
            if ragged:
                row = ragged[0]
                place = f"{self.path}: line {row.number}"
                count = f"{row.actual_columns} cells, but {row.expected_columns} in other lines (`{row.text[:60]}`)"
                raise ValueError(f"{place}: {count}; repair it, or correct `dataset.delimiter`") from None
            reason = " ".join(str(error).split())[:200]
            what = "Parquet" if self.parquet else "a text table"
            fix = "" if self.parquet else ", or correct `dataset.delimiter` and `dataset.encoding`"
            raise ValueError(f"{self.path}: empty, truncated or not {what} ({reason}); write it again{fix}") from None


def _without_empty_end(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """Batches without the empty rows at the end of a file, which spreadsheets write as delimiters alone."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        stop = batch.num_rows
        while stop and not any(column[stop - 1].is_valid for column in batch.columns):
            stop -= 1
        if stop:
            yield from held
            yield batch.slice(0, stop)
            held = []
        if stop < batch.num_rows:
            held.append(batch.slice(stop))


def file_notes(files: list[TableFile]) -> list[str]:
    """The notes of all files and their folder, each once, with the name of the first file that it is about."""
    first: dict[str, tuple[str, int]] = {}
    for file in files:
        for note in file.notes:
            name, count = first.get(note, (file.path.name, 0))
            first[note] = (name, count + 1)
    about = [note for file in files for note in file.about_folder]
    return about + [
        f"{name}: {note}" if count == 1 else f"{name} and {count - 1} more files: {note}"
        for note, (name, count) in first.items()
    ]
