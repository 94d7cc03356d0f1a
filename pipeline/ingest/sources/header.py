"""Lines above the first row of a text table, and the names of columns in them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ingest.sources.text_cells import is_missing, is_number, is_solid


@dataclass(frozen=True)
class Record:
    """The trimmed cells of a line, and the index of the line (of the first, if cells contain line ends)."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class NamedColumns:
    """Names of columns; see :class:`pipeline.ingest.sources.dialect.Dialect`."""

    names: tuple[str, ...]
    unnamed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def data_start(records: Sequence[Record], width: int) -> int:
    """Index of the line of the first row: the first one with ``width`` cells that fit the columns below it.

    A line of names has text where the column has numbers or dates. In a table of text alone, line 1 has the names.
    """
    lower = [r.cells for r in records[len(records) // 2 :] if len(r.cells) == width]
    solid = [c for c in range(width) if _is_solid_column([cells[c] for cells in lower])]
    if not solid:
        return records[min(1, len(records) - 1)].line if len(records) > 1 else records[0].line + 1
    for i, record in enumerate(records):
        cells = [record.cells[c] for c in solid if c < len(record.cells) and not is_missing(record.cells[c])]
        fit = sum(map(is_solid, cells))
        if len(record.cells) == width and cells and (fit == len(cells) if i == 0 else 2 * fit > len(cells)):
            return record.line
    return records[-1].line + 1


def _is_solid_column(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(map(is_solid, filled)) > len(filled)


def name_columns(
    place: str, header: Sequence[Record], rows: Sequence[Sequence[str]], width: int, given: Sequence[str]
) -> NamedColumns:
    """Names of the ``width`` columns: ``given``, or those in the lines of the header, or column_1, column_2 and so on.

    ``rows`` are some rows below the header. Raises ValueError if the number of names does not fit.
    """
    empty_last = width > 1 and bool(rows) and all(not row[-1] for row in rows)
    if given:
        if len(given) not in (width, width - empty_last):
            raise ValueError(
                f"{place}: `dataset.column_names` has {len(given)} names for {width - empty_last} columns; correct it"
            )
        return _completed([*given, *[""] * (width - len(given))], empty_last, [])
    if not header:
        last = width - empty_last
        note = f"line 1 holds numbers, not names: the columns are called column_1 to column_{last}"
        return _completed([""] * width, empty_last, [f"{note}; `dataset.column_names` gives them other names"])
    lines = [(record.line + 1, cells) for record in header if len(cells := _stripped(record.cells, width)) == width]
    if not lines:
        lines = [(record.line + 1, fitted) for record in header if (fitted := _fit(record.cells, width, empty_last))]
    if not lines:
        count = len(header[-1].cells)
        fix = "correct the line, or set `dataset.column_names`"
        raise ValueError(f"{place}: line {header[-1].line + 1} has {count} names for {width} columns; {fix}")
    names, used, notes = _choose(lines, empty_last)
    if others := [record for record in header if record.line + 1 not in used]:
        text = ", ".join(others[0].cells)[:60]
        numbers = ", ".join(str(record.line + 1) for record in others[:5])
        notes.append(f"not read as rows, because they are text above the numbers: line {numbers} ({text})")
    return _completed(names, empty_last, notes)


def _stripped(cells: list[str], width: int) -> list[str]:
    """The cells without a sign of a comment at the start and an empty cell too many at the end."""
    if cells and cells[0][:1] in ("#", "%"):
        cells = cells[1:] if len(cells) == width + 1 and len(cells[0]) == 1 else [cells[0][1:].strip(), *cells[1:]]
    return cells[:-1] if len(cells) == width + 1 and not cells[-1] else cells


def _fit(cells: list[str], width: int, empty_last: bool) -> list[str] | None:
    """The cells of a line that lacks the name of one column; None for other lines."""
    cells = _stripped(cells, width)
    if len(cells) != width - 1:
        return None
    return [*cells, ""] if empty_last else ["", *cells]  # R writes row names without a name


def _choose(lines: Sequence[tuple[int, list[str]]], empty_last: bool) -> tuple[list[str], list[int], list[str]]:
    """Names, the lines they are from, and notes. Repeated names of a line are joined with those of the next lines."""
    full = [line for line in lines if 2 * sum(map(bool, line[1])) > len(line[1])] or list(lines)
    full = [line for line in full if not any(map(is_number, line[1]))] or full  # no `Serial, 17` above the names
    for number, cells in full:
        named = [cell for cell in cells if cell]
        if len(named) == len(set(named)) and len(named) >= len(cells) - 1 - empty_last:
            return cells, [number], []
    number, cells = full[0]
    joined = [" ".join(filter(None, parts)) for parts in zip(*(line[1] for line in lines), strict=True)]
    if len(lines) > 1 and len(set(joined)) == len(joined):
        used = [number for number, _ in lines]
        return joined, used, [f"names of columns are joined from lines {', '.join(map(str, used))}"]
    return cells, [number], []


def _completed(names: Sequence[str], empty_last: bool, notes: list[str]) -> NamedColumns:
    """Names without gaps or repetitions."""
    complete: list[str] = []
    unnamed, repeated = [], []
    for i, name in enumerate(names):
        new = name or f"column_{i + 1}"
        if not name:
            unnamed.append(new)
        if new in complete:
            repeated.append(name)
            new = next(other for k in range(1, len(names) + 1) if (other := f"{name}.{k}") not in (*complete, *names))
        complete.append(new)
    if repeated:
        example = f"{repeated[0]} and {repeated[0]}.1"
        notes = [*notes, f"{len(repeated)} repeated names of columns have a number added, such as {example}"]
    hidden = unnamed[-1:] if empty_last and names[-1] == "" else []
    return NamedColumns(tuple(complete), tuple(unnamed), tuple(hidden), tuple(notes))
