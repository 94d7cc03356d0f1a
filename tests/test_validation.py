"""Options and records are checked field by field, and a mistake is one line that names place, value and fix."""

import dataclasses
import importlib
import json
import math
import pkgutil
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pytest
from pydantic import BeforeValidator, Field, with_config
from pydantic.dataclasses import dataclass

import pipeline
from pipeline.params import build
from pipeline.validation import OPTIONS, RECORD, Float, Fraction, OneOf, PositiveInt, Widths, from_json
from pipeline.validation.records import save_record


@dataclass(frozen=True, config=OPTIONS)
class Inner:
    rate: Float = 0.5


@dataclass(frozen=True, config=OPTIONS)
class Options:
    count: PositiveInt = 1
    share: Fraction = 0.5
    kind: Annotated[str, OneOf(("even", "uneven"))] = "even"
    name: Annotated[str, Field(max_length=50)] | None = None
    hidden: Widths = field(default_factory=lambda: [8])
    inner: Inner | None = None
    many: list[Inner] = field(default_factory=list)
    steps: PositiveInt | Annotated[str, OneOf(("auto",))] = "auto"


@with_config(RECORD)
@dataclasses.dataclass(frozen=True)
class Record:
    count: int
    means: dict[str, list[float]]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"count": 0}, "`x.count`: 0 must be at least 1"),
        ({"count": True}, "`x.count`: True must be a number"),
        ({"count": 1.5}, "`x.count`: 1.5 must be a whole number"),
        ({"count": None}, "`x.count`: None must be a whole number"),
        ({"share": float("nan")}, "`x.share`: nan must be a finite number"),
        ({"share": "much"}, "`x.share`: `much` must be a number"),
        ({"share": "3e-4"}, "`x.share`: `3e-4` is text: write 3e-4 without quotes"),
        ({"count": "10"}, "`x.count`: `10` is text: write 10 without quotes"),
        ({"name": "a\x1b\nb" + 50 * "c"}, f"`x.name`: `a\\x1b b{50 * 'c'}` must be at most 50 characters long"),
        ({"kind": "evn"}, "`x.kind`: `evn` must be one of even, uneven (did you mean `even`?)"),
        ({"kind": "other"}, "`x.kind`: `other` must be one of even, uneven"),
        ({"hidden": [8, 0]}, "`x.hidden.1`: 0 must be at least 1"),
        ({"hidden": 8}, "`x.hidden`: 8 must be a list"),
        ({"inner": {"rate": "fast"}}, "`x.inner.rate`: `fast` must be a number"),
        ({"inner": 3}, "`x.inner`: 3 must be a block of `key: value` lines"),
        ({"many": [{"rate": 1.0}, {"rate": True}]}, "`x.many.1.rate`: True must be a number"),
        ({"steps": 0}, "`x.steps`: 0 must be at least 1 or be one of auto"),
        ({"steps": "aut"}, "`x.steps`: `aut` must be a whole number or be one of auto (did you mean `auto`?)"),
    ],
)
def test_a_mistake_is_one_line(block: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:
        build(Options, block, "x")
    assert str(caught.value) == f"params.yaml: {message}"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"cuont": 0}, "unknown key `x.cuont` (did you mean `count`?)"),
        ({"inner": {"rat": 1}}, "unknown key `x.inner.rat` (did you mean `rate`?)"),
        ({"many": [{"rat": 1}]}, "unknown key `x.many.rat` (did you mean `rate`?)"),
    ],
)
def test_unknown_keys_are_named(block: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:
        build(Options, block, "x")
    assert str(caught.value) == f"params.yaml: {message}"


def test_whole_numbers_count_as_any_numbers_and_as_text():
    """YAML reads 3e-4 and 1e3 as floats here, so that nobody needs quotes."""
    options = build(Options, {"share": 3e-4, "count": 1e1, "name": 7, "inner": {"rate": 1}, "steps": 4}, "x")
    assert options == Options(share=3e-4, count=10, name="7", inner=Inner(1.0), steps=4)
    assert (type(options.inner.rate), type(options.steps)) == (float, int)  # type: ignore[union-attr]


def test_a_config_checks_itself():
    with pytest.raises(ValueError, match="count"):
        Options(count=0)
    with pytest.raises(ValueError, match="count"):
        dataclasses.replace(Options(), count=0)
    with pytest.raises(ValueError, match="surprise"):
        Options(surprise=1)  # type: ignore[call-arg]
    assert Options(**dataclasses.asdict(Options(count=3))) == Options(count=3)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"count": "1", "means": {}}, "`count`: `1` must be a whole number"),
        ({"count": True, "means": {}}, "`count`: True must be a whole number"),
        ({"count": 1}, "`means`: is missing"),
        ({"count": 1, "means": {}, "more": 1}, "`more`: is unknown"),
        ({"count": 1, "means": {"a": [0.0, float("inf")]}}, "`means.a.1`: inf must be a finite number"),
        ({"count": 1, "means": {"a": ["0"]}}, "`means.a.0`: `0` must be a number"),
        ({"count": 1, "means": []}, "`means`: [] must be a block of `key: value` lines"),
    ],
)
def test_records_are_not_converted(record: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:
        from_json(Record, record)
    assert str(caught.value) == message


def test_records_keep_whole_numbers_as_floats():
    assert from_json(Record, {"count": 1, "means": {"a": [1]}}) == Record(1, {"a": [1.0]})


def configs() -> Iterator[type]:
    """Every config class of the project."""
    for module in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if ".bench" in module.name or module.name.endswith("__main__") or module.name.startswith("pipeline.stages."):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and kind.__module__ == module.name and hasattr(kind, "__pydantic_validator__"):
                yield kind


def test_no_number_of_a_config_may_be_a_bool():
    """A bare ``int`` or ``float`` would take ``true`` for 1."""
    found = list(configs())
    assert len(found) >= 30
    for config in found:
        for name, hint in get_type_hints(config, include_extras=True).items():
            assert not takes_bools(hint), f"{config.__name__}.{name}: use a type of validation.py"


def takes_bools(hint: Any) -> bool:
    refuses = any(isinstance(more, BeforeValidator) for more in getattr(hint, "__metadata__", ()))
    return hint in (int, float) or (not refuses and any(map(takes_bools, get_args(hint))))


def test_records_with_few_digits_are_equal_where_only_the_last_digit_of_a_sum_differs(tmp_path: Path):
    for file, mean in (("a.json", 0.1234567890123), ("b.json", 0.1234567890124)):
        record = Record(count=123456789, means={"m": [mean, -math.inf, 1e-9]})
        save_record(record, tmp_path / file, allow_nan=True, digits=7)
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "count": 123456789,
        "means": {"m": [0.1234568, -math.inf, 1e-9]},
    }
