"""How a text table is written: delimiter, decimal mark, encoding, lines of header and names of columns."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ingest.sources.header import Record, data_start, name_columns
from pipeline.ingest.sources.text_cells import is_solid, number_marks
from pipeline.ingest.sources.text_stream import first_lines

BLANKS = " "  # as a delimiter: runs of blanks and tabs
DELIMITERS = ("\t", ";", "|", ",", BLANKS)  # of equally good ones, the first
DECIMALS = (".", ",")
MOST_LINES = 200


@dataclass(frozen=True)
class TextOptions:
    """Options of params.yaml about the cells of tables; null or empty: recognized from the file."""

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    header: int | None = None
    column_names: Sequence[str] = ()
    na_values: Sequence[str | float] = ()


@dataclass(frozen=True)
class Dialect:
    """How a text table is written. ``names`` has one name for each cell of a line, from left to right."""

    names: tuple[str, ...]
    delimiter: str = ","  # " ": runs of blanks
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    header: int = 1  # lines above the first row
    unnamed: tuple[str, ...] = ()  # those of ``names`` that were made up, such as column_1
    hidden: tuple[str, ...] = ()  # those of ``unnamed`` without any cell, as after a delimiter at the end of lines
    notes: tuple[str, ...] = ()  # what the user should know, one line each
    units: Mapping[str, str] = field(default_factory=dict)  # of columns, from a line of units

    @property
    def columns(self) -> list[str]:
        """Names of the columns that hold something."""
        return [name for name in self.names if name not in self.hidden]

    @property
    def options(self) -> dict[str, str | int]:
        """The options of params.yaml that this file needs: those that differ from plain CSV in UTF-8."""
        plain = Dialect(())
        keys = ("delimiter", "decimal", "thousands", "encoding", "header")
        stated = {key: vars(self)[key] for key in keys if vars(self)[key] != vars(plain)[key]}
        return {key: value for key, value in stated.items() if (key, value) != ("encoding", "utf-8-sig")}


def recognize(path: Path, options: TextOptions | None = None) -> Dialect:
    """How the text table ``path`` is written, from its first lines; ``options`` override what they show.

    Raises ValueError for a file without rows, an unreadable one, and for names that do not fit the cells.
    """
    options = options or TextOptions()
    try:
        lines, encoding = first_lines(path, options.encoding)
    except (OSError, UnicodeError, LookupError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: cannot be read ({reason}); correct `dataset.encoding`, or write it again") from None
    if not any(line.strip() for line in lines) or any("\0" in line for line in lines):
        raise ValueError(f"{path}: empty, truncated or not a text table; name a file with rows")
    delimiter = options.delimiter or _delimiter(lines, path)
    records = parse(lines, delimiter)
    width = _width(records)
    start = data_start(records, width) if options.header is None else options.header
    header = [record for record in records if record.line < start]
    rows = [record.cells for record in records if record.line >= start and len(record.cells) == width]
    if not rows:
        raise ValueError(f"{path}: holds no rows below line {start}; name another file, or correct `dataset.header`")
    named = name_columns(str(path), header, rows, width, options.column_names)
    decimal, thousands = number_marks(rows, delimiter)
    notes = [*named.notes, *_seems_transposed(path, lines, start, width)]
    return Dialect(
        delimiter=delimiter,
        decimal=options.decimal or decimal,
        thousands=options.thousands or (thousands if options.decimal in (None, decimal) else None),
        encoding=encoding,
        header=start,
        names=named.names,
        unnamed=named.unnamed,
        hidden=named.hidden,
        notes=tuple(notes),
        units=named.units,
    )


def _seems_transposed(path: Path, lines: Sequence[str], start: int, width: int) -> list[str]:
    """A note about a table without names that is wider than long."""
    rows = path.stat().st_size * len(lines) // max(1, sum(len(line) + 1 for line in lines))
    if start > 0 or 2 * rows >= width or path.suffix.lower() in (".gz", ".bz2"):
        return []
    return [f"{width} columns, but about {rows} lines: transpose the table if a line is a variable and no step"]


def parse(lines: Sequence[str], delimiter: str) -> list[Record]:
    """The cells of lines that are not blank, trimmed, each with the index of its first line."""
    if delimiter == BLANKS:
        lines = [" ".join(line.split()) for line in lines]
    reader = csv.reader((line + "\n" for line in lines[:MOST_LINES]), delimiter=delimiter, skipinitialspace=True)
    records, before = [], 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                records.append(Record(before, [cell.strip() for cell in cells]))
            before = reader.line_num
    except csv.Error:  # an oversized cell: the reader of the whole file names it
        pass
    return records


def _width(records: Sequence[Record]) -> int:
    """The most common number of cells of a line, without the upper part, where headers are."""
    return Counter(len(record.cells) for record in _lower(records)).most_common(1)[0][0]


def _lower(records: Sequence[Record]) -> Sequence[Record]:
    """The records below the first quarter, at least one."""
    return records[min(len(records) - 1, max(1, len(records) // 4)) :]


def _delimiter(lines: Sequence[str], path: Path) -> str:
    """The delimiter that gives lines the same number of cells, and most cells that are numbers or dates."""
    best, chosen = 0.0, "\t" if ".tsv" in path.name.lower() else ","
    for delimiter in DELIMITERS:
        lower = _lower(parse(lines, delimiter))
        width = Counter(len(record.cells) for record in lower).most_common(1)[0][0]
        if width < 2:
            continue
        same = [record.cells for record in lower if len(record.cells) == width]
        cells = [cell for row in same for cell in row]
        solid = sum(map(is_solid, cells)) / len(cells)
        score = round(len(same) / len(lower) * (0.1 + solid), 2)
        if score > best:
            best, chosen = score, delimiter
    return chosen
