"""The types of options and of stored records, and the one line that says what is wrong with a value.

Pydantic does the checking. A config is a ``pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)``, so it checks
itself wherever it is built. A record that is read back from JSON is a plain dataclass ``@with_config(RECORD)``, which
:func:`from_json` checks.
"""

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError
from pydantic_core.core_schema import no_info_after_validator_function

T = TypeVar("T")
OPTIONS = ConfigDict(defer_build=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)
RECORD = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
SHORT = 60  # characters of a wrong value that a message repeats


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("bool_as_number", "must be a number")
    return value


Int = Annotated[int, BeforeValidator(_refuse_bool)]
PositiveInt = Annotated[Int, Field(ge=1)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
Float = Annotated[float, BeforeValidator(_refuse_bool)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
OpenFraction = Annotated[Float, Field(gt=0, lt=1)]
Widths = list[PositiveInt]  # of hidden layers, such as [128, 128]


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


def from_json(kind: type[T], record: Mapping[str, Any]) -> T:
    """``record``, which was read from JSON, as an instance of the dataclass ``kind``. Nothing is converted but whole
    numbers to floats. Raises ValueError of one line."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(record))
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
    shown = f"{_short(value)} " if place and mistakes[0]["type"] not in NO_VALUE and isinstance(value, plain) else ""
    return ".".join(map(str, place)), shown + reason


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
    return text + closest(str(mistake["input"]), choices.split(", "))


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


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    text = text if len(text) <= SHORT else text[:SHORT] + "..."
    return f"`{text}`" if isinstance(value, str) else text
