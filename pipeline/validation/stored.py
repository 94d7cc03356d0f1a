"""Reads what the project stored: JSON that carries its own digest, within limits. A file that is damaged, or that this
project did not write, is a ValueError of one line that says what to do.

The digest shows damage, not malice: who writes a file writes its digest too. So shapes and ranges are checked as well.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pipeline.validation import SHORT, Float, PositiveInt, from_json, one_line

T = TypeVar("T")
LARGEST_JSON = 16 * 2**20  # bytes: a hundred times what the project writes, and read within a second
DIGEST = "sha256"  # the key of an object's digest: of its other keys, as compact JSON in the order of the keys
VERSION = "schema_version"
FLOAT32 = 3.4028234663852886e38  # the largest number of that type
SMALLEST_SCALE = 1e-30  # what divides must not be 0 as float32


def is_plain(name: str) -> bool:
    """Whether ``name`` can be part of a file's name, and of no other path."""
    return bool(name) and name.isprintable() and "/" not in name and "\\" not in name


def _file_name(name: str) -> str:
    if not is_plain(name):
        raise PydanticCustomError("name", "must be a name without slashes and control characters")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]  # part of a file's name
Shape = Annotated[list[PositiveInt], Field(min_length=1, max_length=3)]  # of one observation
Single = Annotated[Float, Field(ge=-FLOAT32, le=FLOAT32)]  # kept as float32
Scale = Annotated[Float, Field(ge=SMALLEST_SCALE, le=FLOAT32)]  # divides


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` as JSON reads it back, with its digest."""
    plain = json.loads(json.dumps({key: value for key, value in content.items() if key != DIGEST}))
    return {**plain, DIGEST: _digest(plain)}


def write_json(content: Mapping[str, Any], file: Path, allow_nan: bool = False) -> None:
    """Write ``content`` with its digest as indented JSON. Raises ValueError for NaN and infinity unless
    ``allow_nan``."""
    file.write_text(json.dumps(sealed(content), indent=2, allow_nan=allow_nan) + "\n")


def read_json(file: Path, again: str, allow_nan: bool = False) -> Any:
    """The JSON in ``file``, without its digest. An object that has none, of an older version, is not compared.

    Raises ValueError that ends with ``again``, such as "run `dvc repro`", which writes the file again: missing, too
    large or too deep, no JSON, a key twice, NaN unless ``allow_nan``, another digest.
    """
    if not file.is_file():
        raise ValueError(f"{file}: not found; {again}")
    if file.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{file}: larger than {LARGEST_JSON >> 20} MiB; delete it and {again}")
    try:
        constant = float if allow_nan else _no_constant
        content = json.loads(file.read_bytes(), object_pairs_hook=_each_key_once, parse_constant=constant)
        expected = content.pop(DIGEST, None) if isinstance(content, dict) else None
        damaged = expected is not None and _digest(content) != expected
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not valid JSON ({one_line(str(error))}); delete it and {again}") from None
    if damaged:
        raise ValueError(f"{file}: damaged or edited, as its digest shows; delete it and {again}")
    return content


def read_object(file: Path, version: int, again: str, changes: str = "") -> dict[str, Any]:
    """The object of schema ``version`` in ``file``. Raises ValueError like :func:`read_json`, and for another version;
    ``changes``, ": " and words, says what older ones had otherwise."""
    content = read_json(file, again)
    written = content.get(VERSION) if isinstance(content, dict) else None
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise ValueError(f"{file}: no {VERSION}, so this is no such file; delete it and {again}")
    if written < version:
        raise ValueError(f"{file}: {VERSION} {written} is older than {version}{changes}; {again}")
    if written > version:
        raise ValueError(f"{file}: {VERSION} {written} is newer than {version}; update the project")
    assert isinstance(content, dict)
    return content


def record_of(kind: type[T], content: Mapping[str, Any], file: Path, again: str) -> T:
    """``content`` of ``file`` as an instance of the dataclass ``kind``. Raises ValueError that ends with ``again``."""
    try:
        return from_json(kind, content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {one_line(str(error))}; delete it and {again}") from None


def sha256(content: bytes) -> str:
    """Its digest in hex."""
    return hashlib.sha256(content).hexdigest()


def _digest(plain: Mapping[str, Any]) -> str:
    return sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"key `{key[:SHORT]}` is there twice")
        content[key] = value
    return content
