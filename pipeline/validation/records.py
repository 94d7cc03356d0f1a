"""Results as JSON files: a stage writes frozen dataclasses, and later stages read the same dataclasses back."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.validation import first_mistake, from_json
from pipeline.validation.stored import read_json, sealed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
DIGITS = 7  # significant ones of numbers that git or dvc.lock tracks: the last of a sum differ between machines


def save_record(
    record: "DataclassInstance | Sequence[DataclassInstance]",
    file: Path | str,
    allow_nan: bool = False,
    digits: int | None = None,
    seal: bool = False,
) -> None:
    """Write a dataclass, or a list of them, as indented JSON, and make the folder. ``digits`` rounds its floats to so
    many significant digits; ``seal`` adds the digest of a single record, which reading compares.

    Raises ValueError for NaN and infinity unless ``allow_nan``, and if sealed for values that reading would refuse.
    """
    content = [asdict(one) for one in record] if isinstance(record, Sequence) else asdict(record)
    if digits is not None:
        content = json.loads(json.dumps(content), parse_float=lambda text: float(f"{float(text):.{digits}g}"))
    if seal:
        assert isinstance(content, dict)
        if not allow_nan:
            from_json(type(record), content)
        content = sealed(content)
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(content, indent=2, allow_nan=allow_nan) + "\n")


def load_record(adapter: TypeAdapter[T], file: Path | str) -> T:
    """What :func:`save_record` wrote, or a list of such records. Keys that the dataclass does not have are ignored.

    Raises ValueError that names the file and the fix: missing, damaged, or without the expected fields.
    """
    content = read_json(Path(file), "run `dvc repro`", allow_nan=True)
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        place, reason = first_mistake(error, content)
        raise ValueError(
            f"{file}: `{place}` {reason}; another version of the project wrote it: run `dvc repro`"
        ) from None
