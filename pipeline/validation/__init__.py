"""The types of options and of stored records, and the one line that says what is wrong with a value.

Pydantic does the checking. A config is a ``pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)``, so it checks
itself wherever it is built. A record that is read back from JSON is a plain dataclass ``@with_config(RECORD)``, which
:func:`from_json` checks.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

T = TypeVar("T")
OPTIONS = ConfigDict(defer_build=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)
RECORD = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
SHORT = 60  # characters of a wrong value that a message repeats
LARGEST_COUNT, LARGEST_SEED = 10**9, 2**32 - 1
LONGEST_FILE_NAME = 255  # bytes, on all common file systems
LARGEST = 1e15  # of a number that is no count
NUMBER = re.compile(r"\s*[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("bool_as_number", "must be a number")
    if isinstance(value, str) and NUMBER.fullmatch(value):
        raise PydanticCustomError("text_as_number", "is text: write {number} without quotes", {"number": value})
    return value


def _plain_name(name: str) -> str:
    if name.isspace() or not name.isprintable():
        raise ValueError("must be one line of text")
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ValueError("must be a name, not a path: without a leading `/`, `..` or a backslash")
    return name


def _no_null(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


def _file_names(path: str) -> str:
    if any(len(part.encode(errors="surrogateescape")) > LONGEST_FILE_NAME for part in path.split("/")):
        raise ValueError(f"must be a path, whose names have at most {LONGEST_FILE_NAME} bytes")
    return path


# The types of options. Each has its range, which the reference of params.yaml shows; Int and Float alone have none. The
# bounds keep out what no machine can run: counts that never end or fill the memory, numbers whose squares float32
# cannot hold, seeds that a library refuses.
Int = Annotated[int, BeforeValidator(_number)]
PositiveInt = Annotated[Int, Field(ge=1, le=LARGEST_COUNT)]
NonNegativeInt = Annotated[Int, Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[Int, Field(ge=0, le=LARGEST_SEED)]
Processes = Annotated[Int, Field(ge=1, le=1024)]  # threads and machines too
Units = Annotated[Int, Field(ge=1, le=65_536)]  # of a layer
Layers = Annotated[Int, Field(ge=0, le=100)]
Members = Annotated[Int, Field(ge=1, le=1000)]  # networks or environments side by side
SmallCount = Annotated[Int, Field(ge=1, le=1_000_000)]  # of what is held side by side, such as resamples
Horizon = Annotated[Int, Field(ge=1, le=100_000)]  # steps that are imagined one after the other
Float = Annotated[float, BeforeValidator(_number)]
Number = Annotated[Float, Field(ge=-LARGEST, le=LARGEST)]
PositiveFloat = Annotated[Float, Field(gt=0, le=LARGEST)]
NonNegativeFloat = Annotated[Float, Field(ge=0, le=LARGEST)]
LearningRate = Annotated[Float, Field(gt=0, le=1)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
OpenFraction = Annotated[Float, Field(gt=0, lt=1)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_no_null)]
FilePath = Annotated[Text, AfterValidator(_file_names)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain_name)]
Widths = Annotated[list[Units], Field(max_length=100)]  # of hidden layers, such as [128, 128]; []: a linear network


@dataclass(frozen=True)
class OneOf:
    """Metadata of a field whose value is one of ``choices``, such as the names of a registry."""

    choices: Collection[Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: object) -> object:
        if value in self.choices:
            return value
        raise PydanticCustomError("one_of", "must be one of {names}", {"names": ", ".join(map(str, self.choices))})


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """' (did you mean `x`?)' or the list of what is known."""
    names = [str(name) for name in known]
    return closest(word, names) or f" (known: {', '.join(sorted(names))})"


def closest(word: str, names: Iterable[str]) -> str:
    """' (did you mean `x`?)', or nothing where no name is like ``word``."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


_adapters: dict[type, TypeAdapter[Any]] = {}


def adapter_of(kind: type[T]) -> TypeAdapter[T]:
    """What checks values of the dataclass ``kind``; kept, because pydantic takes 10 ms for each."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def from_json(kind: type[T], record: Mapping[str, Any]) -> T:
    """``record``, which was read from JSON, as an instance of the dataclass ``kind``. Nothing is converted but whole
    numbers to floats. Raises ValueError of one line."""
    try:
        return adapter_of(kind).validate_json(json.dumps(record))
    except ValidationError as error:
        place, reason = first_mistake(error, record)
        raise ValueError(f"`{place}`: {reason}" if place else reason) from None


def counted(number: int, one: str, many: str | None = None) -> str:
    """``number`` and its noun: "1 row", "2 rows"; ``many`` is the plural where it is not ``one`` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def first_mistake(error: ValidationError, data: Mapping[str, Any]) -> tuple[str, str]:
    """Where in ``data`` the first mistake is, as a dotted path, and what is wrong there."""
    mistakes = error.errors(include_url=False)
    place = _place(mistakes[0], data)
    first, *others = dict.fromkeys(_reason(mistake) for mistake in mistakes if _place(mistake, data) == place)
    reason = " or ".join([first, *(other.removeprefix("must ") for other in others)])
    value, plain = mistakes[0]["input"], str | float | int | list | None
    prefix = f"{short(value)} " if place and mistakes[0]["type"] not in NO_VALUE and isinstance(value, plain) else ""
    return ".".join(map(str, place)), one_line(prefix + reason)


NO_VALUE = ("missing", "missing_argument", "missing_keyword_only_argument", "unexpected_keyword_argument")
REASONS = {
    "missing": "is missing",
    "missing_argument": "is missing",
    "missing_keyword_only_argument": "is missing",
    "unexpected_keyword_argument": "is unknown",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be above {gt}",
    "less_than": "must be below {lt}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "too_long": "must have at most {max_length} entries",
    "list_type": "must be a list",
    "dict_type": "must be a block of `key: value` lines",
    "dataclass_type": "must be a block of `key: value` lines",
    "value_error": "{error}",
}


def _reason(mistake: ErrorDetails) -> str:
    context = mistake.get("ctx", {})
    template = REASONS.get(mistake["type"])
    text = template.format(**context) if template else mistake["msg"].replace("Input should be", "must be")
    choices = str(context.get("names") or context.get("expected") or "").replace(" or ", ", ").replace("'", "")
    return text + (closest(str(mistake["input"])[:SHORT], choices.split(", ")) if choices else "")


def _place(mistake: ErrorDetails, data: object) -> tuple[str | int, ...]:
    """Pydantic's path without its names for the alternatives of a union."""
    place: list[str | int] = []
    for key in mistake["loc"]:
        if isinstance(data, Mapping) and (key in data or mistake["type"] in NO_VALUE):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int):
            data = data[key]
        else:
            continue
        place.append(key)
    return tuple(place)


def short(value: object) -> str:
    """``value`` on one line, cut where it is long; text between backquotes."""
    text = one_line(str(value), SHORT)
    return f"`{text}`" if isinstance(value, str) else text


def one_line(text: str, length: int = 400) -> str:
    """``text`` without line breaks and control characters, cut after ``length`` characters."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text[: 4 * length].split()))
    return line if len(line) <= length else line[:length] + "..."
