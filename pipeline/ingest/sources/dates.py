"""Text as dates: the format of a column of dates, and dates as nanoseconds."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

NS = 1_000_000_000
DAY = 86_400 * NS
EPOCHS = {"s": NS, "ms": 1_000_000, "us": 1_000, "ns": 1}  # nanoseconds of a tick
ELAPSED = ("%H:%M:%S", "%H:%M")  # times of a day, or of a run
ZONE = r"(:\d{2}(?:[.,]\d+)?) ?(Z|UTC|GMT|[+-]\d{2}:?\d{2})$"
MIDNIGHT = r"(^|[ T])24:00"  # the end of a day
FRACTION = r"(:\d{2})[.,](\d{1,9})"
PARTS = re.compile(
    r"(?:(?P<a>\d{1,4}|[A-Za-z]{3,9})(?P<s>[-./ ])(?P<b>\d{1,2}|[A-Za-z]{3,9})(?:(?P<u>[-./ ,]+)(?P<c>\d{1,2}|\d{4}))?"
    r"(?:(?P<g>[T, -]+)|$))?(?P<t>(?P<h>\d{1,3}):\d{2}(?P<x>:\d{2})?(?P<p> ?[AaPp][Mm])?)?"
)


class AmbiguousDatesError(ValueError):
    """Days and months cannot be told apart; ``formats`` are the day-first and the month-first one."""

    def __init__(self, message: str, formats: tuple[str, str]) -> None:
        super().__init__(message)
        self.formats = formats


def known_format(pattern: str) -> str:
    """``pattern`` if it is a format of dates or a unit of counts since 1970. Raises ValueError otherwise."""
    if pattern not in EPOCHS and "%" not in pattern:
        raise ValueError(f"{pattern} is neither a format such as %d.%m.%Y %H:%M:%S nor one of {', '.join(EPOCHS)}")
    return pattern


@dataclass(frozen=True)
class DateFormats:
    """The formats that fit the dates so far: one, or a day-first and a month-first one."""

    formats: tuple[str, ...]
    example: str

    def narrowed(self, other: "DateFormats") -> "DateFormats":
        """Those that fit the dates of both; its own if there are none, so that the first date that does not fit is
        named."""
        both = tuple(text for text in self.formats if text in other.formats)
        return DateFormats(both or self.formats, self.example)

    def single(self, place: str) -> str:
        """The format. Raises AmbiguousDatesError if there are two."""
        if len(self.formats) == 2:
            day, month = self.formats
            fix = f'set `dataset.time_format: "{day}"` or `"{month}"`'
            problem = f"`{self.example}` may begin with the day or the month"
            raise AmbiguousDatesError(f"{place}: {problem}; {fix}", (day, month))
        return self.formats[0]


def formats_of(text: "pa.Array") -> DateFormats | None:
    """Formats that fit all cells of a column of trimmed text; None if some cell is no date."""
    import pyarrow.compute as pc

    cells = _plain(text).drop_null()
    if not len(cells):
        return None
    first = cells[0].as_py()
    cells = pc.replace_substring_regex(pc.replace_substring_regex(cells, ZONE, r"\1"), FRACTION, r"\1")
    example = cells[0].as_py()
    match = PARTS.fullmatch(example)
    parts = pc.extract_regex(cells, f"^{PARTS.pattern}$")
    if match is None or not example or parts.null_count or (match["a"] is None and match["h"] is None):
        return None
    a, b = (_largest(pc.struct_field(parts, key)) for key in "ab")
    dates = _date_formats(match, a, b)
    clock = "" if not match["h"] else "%I:%M" if match["p"] else "%H:%M"
    clock += "".join(piece for piece, part in ((":%S", "x"), (" %p", "p")) if match[part])
    return DateFormats(tuple(f"{date}{match['g'] or ''}{clock}" for date in dates), first) if dates else None


def _largest(cells: "pa.Array") -> int | None:
    """The largest number; None if a cell is no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.max(cells.cast(pa.int64())).as_py()
    except pa.ArrowInvalid:
        return None


def _date_formats(match: re.Match[str], a: int | None, b: int | None) -> list[str]:
    """Formats of the date, without the time; ``a`` and ``b`` are the largest first and second numbers in it."""
    if match["a"] is None:
        return [""]
    year = "" if match["c"] is None else match["u"] + ("%Y" if len(match["c"]) == 4 else "%y")
    sep = match["s"]
    if a is None or b is None:
        return [f"%b{sep}%d{year}" if a is None else f"%d{sep}%b{year}"]
    if len(match["a"]) == 4:
        return [f"%Y{sep}%m{year.replace('%y', '%d')}"] if year else []
    if len(match["c"] or "") == 1:
        return []
    day, month = f"%d{sep}%m{year}", f"%m{sep}%d{year}"
    if max(a, b) > 31 or min(a, b) > 12:
        return []
    if a > 12 or sep == ".":
        return [day]
    return [month] if b > 12 else [day, month]


def has_year(pattern: str) -> bool:
    """Whether dates in a format of strptime have a year."""
    return bool(re.search("%[YyGsDFcx]", pattern))


def has_date(pattern: str) -> bool:
    """Whether a format of strptime has more than the time of the day."""
    return bool(re.search("%[YyGsDFcxmdbBjeh]", pattern))


def nanoseconds(text: "pa.Array", pattern: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """Trimmed text in a format of strptime as nanoseconds int64 "N", which cells fit "N", and whether it is in UTC.

    Dates without a year are in 2000. A fraction of seconds, a time zone and 24:00 are understood.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    cells, pattern = _plain(text), " ".join(pattern.split()).replace("%H.%M.%S", "%H:%M:%S")
    zone = pc.extract_regex(cells, ZONE.replace("(:", "(?P<s>:").replace("(Z", "(?P<zone>Z"))
    cells = pc.replace_substring_regex(cells, ZONE, r"\1") if zone.null_count < len(zone) else cells
    fraction = pc.extract_regex(cells, FRACTION.replace(r"(\d", r"(?P<digits>\d").replace("(:", "(?P<s>:"))
    cells = pc.replace_substring_regex(cells, FRACTION, r"\1") if fraction.null_count < len(fraction) else cells
    pattern = re.sub(r"[.,]%f| ?%z| ?%Z", "", pattern)
    ticks = np.zeros(len(cells), np.int64)
    if pattern in ELAPSED:
        parsed = _elapsed(cells)
    else:
        midnight = pc.match_substring_regex(cells, MIDNIGHT).fill_null(False)
        if pc.any(midnight).as_py():
            cells = pc.replace_substring_regex(cells, MIDNIGHT, r"\1" + "00:00")
            ticks += DAY * midnight.to_numpy(zero_copy_only=False)
        if not has_year(pattern):
            cells, pattern = pc.binary_join_element_wise("2000", cells, " "), f"%Y {pattern}"
        parsed = pc.strptime(cells, pattern, "s", error_is_null=True).cast(pa.int64())
    fits = parsed.is_valid().to_numpy(zero_copy_only=False)
    ticks += NS * parsed.fill_null(0).to_numpy(zero_copy_only=False)
    if fraction.null_count < len(fraction):
        digits = pc.utf8_rpad(pc.struct_field(fraction, "digits"), 9, "0").cast(pa.int64()).fill_null(0)
        ticks += digits.to_numpy(zero_copy_only=False)
    if zone.null_count == len(zone):
        return ticks, fits, False
    return ticks - _offsets(pc.struct_field(zone, "zone")), fits & zone.is_valid().to_numpy(zero_copy_only=False), True


def _plain(text: "pa.Array") -> "pa.Array":
    """Text with single blanks, and with colons in a time of day after a date, such as 18.00.00."""
    import pyarrow.compute as pc

    text = pc.replace_substring_regex(text, r"\s+", " ")
    return pc.replace_substring_regex(text, r"([/.-]\d+[T ]\d{1,2})\.(\d{2})\.(\d{2})$", r"\1:\2:\3")


def _elapsed(cells: "pa.Array") -> "pa.Array":
    """Seconds of H:M and H:M:S, of any number of hours; null for other text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(cells, r"^(?P<h>\d+):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?$")
    hours, minutes, seconds = (
        pc.if_else(pc.equal(part, ""), "0", part).cast(pa.int64())
        for part in (pc.struct_field(parts, k) for k in "hms")
    )
    return pc.add(pc.add(pc.multiply(hours, 3600), pc.multiply(minutes, 60)), seconds)


def _offsets(zones: "pa.Array") -> np.ndarray:
    """Nanoseconds east of UTC of text such as +01:00 and Z."""
    known = {zone: _offset(zone) for zone in zones.drop_null().unique().to_pylist()}
    return np.array([known.get(zone, 0) for zone in zones.to_pylist()], np.int64)


def _offset(zone: str) -> int:
    if zone[0] not in "+-":
        return 0
    sign = -1 if zone[0] == "-" else 1
    return sign * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60) * NS
