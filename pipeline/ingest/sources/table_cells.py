"""Cells of tables as numbers or labels, in the notation of their file. Other cells are refused with the fix."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.sources.table_files import TableFile
from pipeline.ingest.sources.text_cells import MISSING, SEPARATORS, has_unit, is_number

if TYPE_CHECKING:
    import pyarrow as pa


def numbers(file: TableFile, name: str, array: "pa.Array", first: int) -> np.ndarray:
    """Cells as float64 "N": NaN if missing, true and false as 1 and 0. Raises ValueError at the first other text.

    ``first`` is the file's row of the first cell.
    """
    import pyarrow as pa

    file = file.part(name)
    values = _plain(file, array)
    if values is None:
        text = labels(file, array)
        try:
            values = _converted(file, text)
        except pa.ArrowInvalid:
            row, cell = next((i, c) for i, c in enumerate(text.to_pylist()) if c is not None and not parses(file, c))
            raise ValueError(f"{file.place(first + row)}: column `{name}`: {not_a_number(file, cell)}") from None
    missing = [number for number in map(_as_number, file.options.na_values) if number is not None]
    return np.where(np.isin(values, missing), np.nan, values) if missing else values


def labels(file: TableFile, array: "pa.Array") -> "pa.Array":
    """Cells as trimmed text, null where they are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(array.cast(pa.string()))
    stated = [str(value) for value in file.options.na_values]
    absent = pa.array([*MISSING, *stated, *(value.removesuffix(".0") for value in stated)], pa.string())
    return pc.if_else(pc.is_in(text, absent), pa.scalar(None, pa.string()), text)


def parses(file: TableFile, cell: str) -> bool:
    """Whether a trimmed cell is a number in the notation of the file, or true or false."""
    import pyarrow as pa

    try:
        _converted(file, pa.array([cell], pa.string()))
    except pa.ArrowInvalid:
        return False
    return True


def not_a_number(file: TableFile, cell: str) -> str:
    """What is wrong with a cell that should be a number in the notation of the file, and how to mend it."""
    if is_number(cell):
        marks = [mark for mark in f".,{SEPARATORS}" if mark in cell]
        if "," in marks and file.decimal == "." and file.thousands is None:
            fix = 'set `dataset.decimal: ","` if it is a decimal comma, `dataset.thousands: ","` if it groups digits'
            return f"`{cell}` has a comma; {fix}"
        if "." in marks and file.decimal == ",":
            fix = 'set `dataset.thousands: "."` if it groups digits, `dataset.decimal: "."` if it is a decimal point'
            return f"`{cell}` has a point, but the decimal mark is a comma; {fix}"
        if mark := next((mark for mark in marks if mark in SEPARATORS), None):
            return f'`{cell}` is not read as a number; set `dataset.thousands: "{mark}"` if it groups digits'
        return (
            f"`{cell}` is not a number with the decimal mark `{file.decimal}`; repair it, or correct `dataset.decimal`"
        )
    if has_unit(cell):
        return f"`{cell[:40]}` is a number with its unit; remove units from the cells"
    fix = f'set `dataset.na_values: ["{cell[:40]}"]` if it means that the value is missing, else repair it'
    return f"`{cell[:40]}` is not a number; {fix}"


def _plain(file: TableFile, array: "pa.Array") -> np.ndarray | None:
    """Numbers without blanks and groups of digits, which is fast; None if other cells are among them."""
    import pyarrow as pa

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            if file.thousands is not None:
                return None
            array = _with_points(file, array)
        return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _converted(file: TableFile, text: "pa.Array") -> np.ndarray:
    """Trimmed text as numbers. Raises ArrowInvalid for other text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lower = pc.utf8_lower(text)
    if text.null_count < len(text) and pc.all(pc.is_in(lower, pa.array(["true", "false", None]))).as_py():
        text = pc.if_else(pc.equal(lower, "true"), "1", "0")
    else:
        text = _with_points(file, text)
    return np.asarray(text.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _with_points(file: TableFile, text: "pa.Array") -> "pa.Array":
    """Numbers in the file's notation with a decimal point and no groups. Raises ArrowInvalid for another notation."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if file.thousands is not None:
        mark, point = re.escape(file.thousands), re.escape(file.decimal)
        grouped = rf"^[+-]?\d{{1,3}}({mark}\d{{3}})+({point}\d*)?$"
        plain = pc.invert(pc.match_substring(text, file.thousands))
        if not pc.all(pc.or_(plain, pc.match_substring_regex(text, grouped)).fill_null(True)).as_py():
            raise pa.ArrowInvalid("groups of other than three digits")
        text = pc.replace_substring(text, file.thousands, "")
    if file.decimal != ".":
        if pc.any(pc.match_substring(text, ".")).as_py():
            raise pa.ArrowInvalid("a point")
        text = pc.replace_substring(text, file.decimal, ".")
    return text


def _as_number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def shown(values: Sequence[str]) -> str:
    """Up to three values as a list of YAML."""
    return "[" + ", ".join(f'"{value[:40]}"' for value in values[:3]) + "]"
