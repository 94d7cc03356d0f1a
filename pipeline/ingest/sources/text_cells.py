"""What the text of a cell is: a number, in which notation, a date, or a missing value."""

import re
from collections.abc import Iterable, Sequence

MISSING = (
    "",
    "NaN",
    "nan",
    "NAN",
    "-nan",
    "-NaN",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "#NA",
    "<NA>",
    "null",
    "NULL",
    "None",
    "NaT",
)
NARROW = "\u00a0\u202f\u2009"  # blanks that never separate columns
SEPARATORS = f"'’_ {NARROW}"  # between groups of three digits, where a point and a comma leave no doubt
NUMBER = re.compile(
    rf"[+-]?((\d{{1,3}}([.,{SEPARATORS}]\d{{3}})+|\d+)([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?inf", re.IGNORECASE
)
CLOCK = r"\d{1,3}:\d{2}(:\d{2})?([.,]\d+)?( ?[AaPp]\.?[Mm]\.?)?( ?(Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
DATE = re.compile(
    rf"(\d{{1,4}}[-./]\d{{1,2}}[-./]\d{{1,4}}|\d{{1,2}}[- ./][A-Za-z]{{3,9}}[- ./]\d{{2,4}})([T, -]*{CLOCK})?"
    rf"|[A-Za-z]{{3,9}} \d{{1,2}},? \d{{4}}([, -]*{CLOCK})?|(\d{{1,2}}[-./]\d{{1,2}}[T, -]+)?{CLOCK}"
)
WITH_UNIT = re.compile(r"[+-]?(\d+[.,]\d+ ?|\d+ )[^\d\s,;]{1,6}|[+-]?\d+ ?[%°]\w?")
BOOLEANS = ("true", "false")


def is_number(cell: str) -> bool:
    """Whether a trimmed cell is a number in any notation: with points, commas or separators of thousands."""
    return bool(NUMBER.fullmatch(cell))


def is_date(cell: str) -> bool:
    """Whether a trimmed cell looks like a date or a time of day."""
    return bool(DATE.fullmatch(cell))


def has_unit(cell: str) -> bool:
    """Whether a trimmed cell is a number with its unit, such as 20.5 °C or 45 %."""
    return bool(WITH_UNIT.fullmatch(cell))


def is_missing(cell: str) -> bool:
    """Whether a trimmed cell means that a value is missing."""
    return cell in MISSING


def is_solid(cell: str) -> bool:
    """Whether a trimmed cell is data by itself: a number, a date, true or false, or missing."""
    return is_number(cell) or is_missing(cell) or is_date(cell) or cell.lower() in BOOLEANS


def number_marks(rows: Iterable[Sequence[str]], delimiter: str) -> tuple[str, str | None]:
    """Decimal mark and separator of thousands in cells. A point and none where the cells leave a doubt.

    A cell with both marks decides. A comma that cannot separate thousands is a decimal comma; so is one before three
    digits where every number of its column has it, unless commas separate the columns or other cells have points.
    """
    columns = [list(filter(is_number, column)) for column in zip(*rows, strict=True)]
    cells = [cell for column in columns for cell in column]
    thousands = next((mark for mark in SEPARATORS if any(_grouped(cell, mark) for cell in cells)), None)
    both = [cell for cell in cells if "," in cell and "." in cell and (_grouped(cell, ",") or _grouped(cell, "."))]
    if both:
        decimal = "," if both[0].rfind(",") > both[0].rfind(".") else "."
        return decimal, "." if decimal == "," else ","
    commas = [cell for cell in cells if "," in cell]
    points = [cell for cell in cells if "." in cell]
    if not commas:
        groups = [cell for cell in points if cell.count(".") > 1]
        return (",", ".") if groups and all(_grouped(cell, ".") for cell in points) else (".", thousands)
    fixed = [column for column in columns if column and all("," in cell for cell in column)]
    if any(not _grouped(cell, ",") for cell in commas) or (fixed and delimiter != "," and not points):
        return ",", "." if points and all(_grouped(cell, ".") for cell in points) else thousands
    return ".", "," if any(cell.count(",") > 1 for cell in commas) else thousands


def _grouped(cell: str, mark: str) -> bool:
    """Whether ``mark`` separates groups of three digits."""
    if mark not in cell:
        return False
    return bool(re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}({re.escape(mark)}\d{{3}})+([.,]\d*)?", cell))
