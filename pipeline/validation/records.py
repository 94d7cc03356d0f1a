"""Results as JSON files: a stage writes frozen dataclasses, and later stages read the same dataclasses back."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.validation import first_mistake

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
DIGITS = 7  # significant ones of numbers that git or dvc.lock tracks: the last of a sum differ between machines


def save_record(
    record: "DataclassInstance | Sequence[DataclassInstance]",
    file: Path | str,
    allow_nan: bool = False,
    digits: int | None = None,
) -> None:
    """Write a dataclass, or a list of them, as indented JSON, and make the folder. ``digits`` rounds its floats to so
    many significant digits.

    Raises ValueError for NaN and infinity unless ``allow_nan``.
    """
    content = [asdict(one) for one in record] if isinstance(record, Sequence) else asdict(record)
    if digits is not None:
        content = json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.{digits}g}"))
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(content, indent=2, allow_nan=allow_nan) + "\n")


def load_record(adapter: TypeAdapter[T], file: Path | str) -> T:
    """What :func:`save_record` wrote, or a list of such records. Keys that the dataclass does not have are ignored.

    Raises ValueError that names the file and the fix: missing, not JSON, or without the expected fields.
    """
    try:
        content = json.loads(Path(file).read_text())
    except FileNotFoundError:
        raise ValueError(f"{file}: not found; run `dvc repro`") from None
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); delete it and run `dvc repro`") from None
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        place, reason = first_mistake(error, content)
        raise ValueError(
            f"{file}: `{place}` {reason}; another version of the project wrote it: run `dvc repro`"
        ) from None
