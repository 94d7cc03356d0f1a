"""Lines above the first row of a text table, and the names of columns in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.ingest.sources.text_cells import is_missing, is_solid
from pipeline.ingest.sources.units import units_of_lines

COMMENTS = ("#", "%")
MOST_HEADERS = 100  # lines among which names are sought


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
    units: Mapping[str, str] = field(default_factory=dict)


def data_start(records: Sequence[Record], width: int) -> int:
    """Index of the line of the first row: the first one with ``width`` cells that fit the columns below it.

    A line of names has text where the column has numbers or dates. In a table of text alone, line 1 has the names.
    """
    lower = [r.cells for r in records[len(records) // 2 :] if len(r.cells) == width]
    solid = [c for c in range(width) if _is_solid_column([cells[c] for cells in lower])]
    if not solid:
        return records[1].line if len(records) > 1 else records[0].line + 1
    names = [i for i, record in enumerate(records[:MOST_HEADERS]) if _is_all_names(record.cells, lower, solid)]
    after = names[-1] + 1 if names else 0
    for i, record in enumerate(records[after:], after):
        cells = [record.cells[c] for c in solid if c < len(record.cells) and not is_missing(record.cells[c])]
        fit = sum(map(is_solid, cells))
        if len(record.cells) == width and cells and (fit == len(cells) if i == 0 else 2 * fit > len(cells)):
            return record.line
    return records[-1].line + 1


def _is_solid_column(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if not is_missing(cell)]
    return 2 * sum(map(is_solid, filled)) > len(filled)


def _is_all_names(cells: Sequence[str], rows: Sequence[Sequence[str]], solid: Sequence[int]) -> bool:
    """Whether cells cannot be a row: all differ, none is a number or a date, and none is text of ``rows``.

    A row that says `Bad Input` everywhere repeats itself. The last cells may be empty.
    """
    width = len(rows[0])
    cells = [*cells, *[""] * (width - len(cells))]
    named = [cell for cell in cells if cell]
    if len(cells) != width or len(named) < max(2, width - 1) or len(set(named)) < len(named):
        return False
    if any(is_solid(cell) for cell in named):
        return False
    others = [row for row in rows if row[: len(named)] != cells[: len(named)]]
    return len(solid) > 1 and not any(row[c] == cells[c] for row in others for c in range(width) if cells[c])


def name_columns(
    place: str, header: Sequence[Record], rows: Sequence[Sequence[str]], width: int, given: Sequence[str]
) -> NamedColumns:
    """Names of the ``width`` columns: ``given``, or those in the lines of the header, or column_1, column_2 and so on.

    ``rows`` are some rows below the header. Raises ValueError if the number of names does not fit.
    """
    filled = max((c + 1 for row in rows for c in range(width) if row[c]), default=width)
    if given:
        if not filled <= len(given) <= width:
            count = f"{len(given)} names for {filled} columns"
            raise ValueError(f"{place}: `dataset.column_names` has {count}; correct it")
        return _completed([*given, *[""] * (width - len(given))], filled, [])
    if not header:
        note = f"line 1 holds numbers, not names: the columns are called column_1 to column_{filled}"
        return _completed([""] * width, filled, [f"{note}; `dataset.column_names` gives them other names"])
    stripped = [(record.line + 1, _stripped(record, header)) for record in header]
    lines = [(number, fitted) for number, cells in stripped if (fitted := _padded(cells, filled, width)) is not None]
    if not lines:  # R names no column of row names
        lines = [(number, ["", *cells]) for number, cells in stripped if len(cells) == width - 1]
    if not lines:
        fix = "correct the line, set `dataset.column_names`, or write numbers with decimal commas between other marks"
        raise ValueError(
            f"{place}: line {stripped[-1][0]} has {len(stripped[-1][1])} names for {filled} columns; {fix}"
        )
    names, used, notes = _choose(lines, filled)
    if others := [record for record in header if record.line + 1 not in used]:
        text = ", ".join(filter(None, others[0].cells))[:60]
        numbers = ", ".join(str(record.line + 1) for record in others[:5])
        notes.append(f"not read as rows, because they are text above the numbers: line {numbers} ({text})")
    completed = _completed(names, filled, notes)
    below = [cells for number, cells in lines if number > max(used)]
    return replace(completed, units=units_of_lines(completed.names, below))


def _stripped(record: Record, header: Sequence[Record]) -> list[str]:
    """The cells of a line without the sign of a comment; of several comments, only the last one can have names."""
    cells = record.cells
    if not cells or cells[0][:1] not in COMMENTS or not cells[0]:
        return cells
    if any(other.line > record.line and other.cells[0][:1] in COMMENTS and other.cells[0] for other in header):
        return []
    return cells[1:] if len(cells[0]) == 1 else [cells[0][1:].strip(), *cells[1:]]


def _padded(cells: list[str], filled: int, width: int) -> list[str] | None:
    """``width`` cells; None for a line that has fewer than the ``filled`` columns, or too many."""
    if len(cells) > width and not any(cells[width:]):
        cells = cells[:width]
    return [*cells, *[""] * (width - len(cells))] if filled <= len(cells) <= width else None


def _choose(lines: Sequence[tuple[int, list[str]]], filled: int) -> tuple[list[str], list[int], list[str]]:
    """Names, the lines they are from, and notes.

    The first line that names most columns has them. If it repeats a name, the next lines are joined to it.
    """
    full = [i for i, line in enumerate(lines) if 2 * sum(map(bool, line[1])) > filled] or [0]
    first = next((i for i in full if not any(is_solid(cell) for cell in lines[i][1] if cell)), full[0])
    number, cells = lines[first]
    joined, used = list(cells), [number]
    for number, more in [*(lines[i] for i in full if i > first), (0, [])]:
        named = [name for name in joined if name]
        if len(set(named)) == len(named):
            notes = [f"names of columns are joined from lines {', '.join(map(str, used))}"] if len(used) > 1 else []
            return joined, used, notes
        joined = [" ".join(filter(None, parts)) for parts in zip(joined, more, strict=False)]
        used.append(number)
    return cells, used[:1], []


def _completed(names: Sequence[str], filled: int, notes: list[str]) -> NamedColumns:
    """Names without gaps or repetitions. Columns beyond the ``filled`` ones are hidden, unless they have a name."""
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
    hidden = [new for new, name in zip(complete[filled:], names[filled:], strict=True) if not name]
    return NamedColumns(tuple(complete), tuple(unnamed), tuple(hidden), tuple(notes))
