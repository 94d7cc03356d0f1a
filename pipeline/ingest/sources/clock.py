"""The time column of a table, in seconds since its first time: dates, epochs, and local times."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.dates import DAY, EPOCHS, NS, DateFormats, formats_of, has_date, has_year, nanoseconds
from pipeline.ingest.sources.table_cells import labels, numbers, parses
from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.time_zone import instants, refuse_set_back, rising, without_leap_day

if TYPE_CHECKING:
    import pyarrow as pa

LEAP_DAY = 11_016  # 29 February 2000, in days since 1970
UTC, LOCAL, PERIODIC = "utc", "local", "periodic"  # instants, local times, and times without a year or a date


@dataclass
class Clock:
    """Reads a time column, batch by batch. Dates become seconds since the first one, so that float64 is exact to the
    nanosecond.

    ``time_format`` and ``time_zone`` are those of params.yaml. Without a format, ISO dates are read, and other formats
    are recognized from the first batch.
    """

    time_format: str | None = None
    time_zone: str | None = None
    origin: int | None = None
    _passes: dict[str, tuple[int, bool]] = field(default_factory=dict)
    _turns: dict[str, tuple[int, int]] = field(default_factory=dict)
    _before: tuple[int, str] | None = None
    _leap_year: bool = False

    @property
    def unit(self) -> str:
        """The unit of times in messages, with a space before it: seconds for dates; empty if the log does not tell."""
        return "" if self.origin is None else " s"

    def learn(self, files: list[TableFile], name: str, time_of_day: str | None = None) -> None:
        """Recognize the format from as many rows as it takes to tell days from months.

        Raises AmbiguousDatesError if that needs an option.
        """
        columns = [name] if time_of_day is None else [name, time_of_day]
        formats: DateFormats | None = None
        for file in files if self.time_format is None else ():
            for batch in file.batches(columns):
                new = self._formats(file.part(name), time_cells(file, batch, name, time_of_day))
                if new is None:
                    return
                formats = new if formats is None else formats.narrowed(new)
                if len(formats.formats) == 1:
                    self.time_format = formats.formats[0]
                    return
        if formats is not None:
            self.time_format = formats.single(f"{files[0].path}: column `{name}`")

    def read(
        self, file: TableFile, name: str, array: "pa.Array", first: int, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Times float64 "N" of cells; ``first`` is the file's row of the first one.

        ``groups`` "N" are the episodes of the rows. Raises ValueError for cells that are no time, for ambiguous dates,
        and for local times that need a time zone.
        """
        file = file.part(name)
        if first == 0:
            self._passes, self._turns, self._before, self._leap_year = {}, {}, None, False
        array = labels(file, array) if _is_text(array) else array
        filled = array.is_valid().to_numpy(zero_copy_only=False)
        dates = self._dates(file, name, array, first) if filled.any() else None
        if dates is None:
            seconds = numbers(file, name, array, first)
            filled = np.isfinite(seconds)
        if not filled.all():
            row = first + int(np.flatnonzero(~filled)[0])
            raise ValueError(f"{file.place(row)}: column `{name}`: no time; fill it in every row")
        if dates is None:
            return seconds
        ticks, kind = dates
        place = partial(_place, file, name, first)
        if groups is not None and kind != UTC:
            _refuse_days_alone(ticks, groups, place)
        if kind == PERIODIC:
            ticks = self._risen(ticks, groups)
        elif kind == LOCAL and self.time_zone is not None:
            ticks = instants(ticks, self.time_zone, groups, self._passes, place)
        elif kind == LOCAL:
            refuse_set_back(ticks, groups, self._before, place)
            self._before = (int(ticks[-1]), "" if groups is None else str(groups[-1]))
        self.origin = int(ticks[0]) if self.origin is None else self.origin
        return (ticks - self.origin) / NS

    def _dates(self, file: TableFile, name: str, array: "pa.Array", first: int) -> tuple[np.ndarray, str] | None:
        """Times in nanoseconds, int64 "N", and their kind; None for plain numbers."""
        import pyarrow as pa

        kind = array.type
        if self.time_format in EPOCHS:
            return _epochs(file, name, array, first, EPOCHS[self.time_format]), UTC
        if pa.types.is_duration(kind):
            return _ticks(array.cast(pa.duration("ns"))), UTC
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            zone = kind.tz if pa.types.is_timestamp(kind) else None
            return _ticks(array.cast(pa.timestamp("ns", zone))), UTC if zone else LOCAL
        if self.time_format is None and not _is_text(array):
            return None
        text = labels(file, array)
        if self.time_format is None:
            if (iso := _iso(text)) is not None:
                return iso
            if (formats := self._formats(file, array)) is None:
                _check_numbers(file, name, text, first)
                return None
            self.time_format = formats.single(f"{file.place(first)}: column `{name}`")
        ticks, fits, in_utc = nanoseconds(text, self.time_format)
        if not fits.all() and (bad := np.flatnonzero(~fits & text.is_valid().to_numpy(zero_copy_only=False))).size:
            row = int(bad[0])
            problem = f"`{text[row].as_py()}` does not fit the format {self.time_format}"
            fix = "repair it, or correct `dataset.time_format`"
            raise ValueError(f"{file.place(first + row)}: column `{name}`: {problem}; {fix}")
        return ticks, UTC if in_utc else LOCAL if has_year(self.time_format) else PERIODIC

    def _formats(self, file: TableFile, array: "pa.Array") -> DateFormats | None:
        """Formats that fit cells of text; None for ISO dates, numbers and other text."""
        if not _is_text(array):
            return None
        text = labels(file, array)
        filled = text.drop_null()
        if (
            not len(filled)
            or (_iso(filled[:1]) is not None and _iso(text) is not None)
            or parses(file, filled[0].as_py())
        ):
            return None
        return formats_of(text)

    def _risen(self, ticks: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        """Times without a year or a date, which start again at the end of each."""
        if not has_date(str(self.time_format)):
            return rising(ticks, DAY, groups, self._turns)
        self._leap_year |= bool((ticks // DAY == LEAP_DAY).any())
        days = 365 + self._leap_year
        return rising(ticks if self._leap_year else without_leap_day(ticks), days * DAY, groups, self._turns)


def time_cells(file: TableFile, batch: "pa.RecordBatch", name: str, time_of_day: str | None) -> "pa.Array":
    """Cells of the time column, joined with those of the column ``time_of_day`` if there is one."""
    import pyarrow.compute as pc

    if time_of_day is None:
        return batch.column(name)
    days = pc.replace_substring_regex(labels(file, batch.column(name)), r"[ T]00:00:00(\.0+)?$", "")
    return pc.binary_join_element_wise(days, labels(file, batch.column(time_of_day)), " ")


def _is_text(array: "pa.Array") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _refuse_days_alone(ticks: np.ndarray, groups: np.ndarray, place: Callable[[int], str]) -> None:
    """Raises ValueError where several rows of an episode have the same day, and no row has a time of day."""
    same = (np.diff(ticks) == 0) & (groups[1:] == groups[:-1])
    if same.any() and not (ticks % DAY).any():
        fix = "name the column of the time of day in `dataset.time_of_day_column`"
        raise ValueError(
            f"{place(int(np.flatnonzero(same)[0]) + 1)}: the same day as in the row before, and no time; {fix}"
        )


def _place(file: TableFile, name: str, first: int, row: int) -> str:
    return f"{file.place(first + row)}: column `{name}`"


def _ticks(array: "pa.Array") -> np.ndarray:
    """Nanoseconds int64 "N", 0 for empty cells."""
    import pyarrow as pa

    return np.array(array.cast(pa.int64()).fill_null(0))


def _epochs(file: TableFile, name: str, array: "pa.Array", first: int, unit: int) -> np.ndarray:
    """Counts of a unit since 1970 as nanoseconds; whole ones stay exact."""
    import pyarrow as pa

    try:
        return unit * _ticks(labels(file, array).cast(pa.int64()))
    except pa.ArrowInvalid:
        return np.nan_to_num(numbers(file, name, array, first) * unit).astype(np.int64)


def _iso(text: "pa.Array") -> tuple[np.ndarray, str] | None:
    """ISO dates as nanoseconds and their kind; None for other text, and where only some cells have a time zone."""
    import pyarrow as pa

    for zone, kind in ((None, LOCAL), ("UTC", UTC)):
        try:
            return _ticks(text.cast(pa.timestamp("ns", zone))), kind
        except pa.ArrowInvalid:
            continue
    return None


def _check_numbers(file: TableFile, name: str, text: "pa.Array", first: int) -> None:
    """Raises ValueError at the first cell that is no date, unless the column begins with a number."""
    cells = text.to_pylist()
    filled = [(row, cell) for row, cell in enumerate(cells) if cell is not None]
    if parses(file, filled[0][1]):
        return
    single = [
        (row, cell) for row, cell in filled if _iso(text[row : row + 1]) is None and not formats_of(text[row : row + 1])
    ]
    row, cell = single[0] if single else filled[0]
    problem = f"`{cell}` is no time" if single else f"`{cell}` and other cells have different formats"
    raise ValueError(f"{file.place(first + row)}: column `{name}`: {problem}; repair it, or set `dataset.time_format`")
