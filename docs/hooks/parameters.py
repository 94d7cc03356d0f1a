"""params.yaml key by key as Markdown, from the dataclasses that read it."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic.fields import FieldInfo
from roles import linked

from pipeline.cli.fields import meanings
from pipeline.policies import BASELINES
from pipeline.stages.preflight import Family, blocks
from pipeline.validation import LARGEST, LARGEST_COUNT, LARGEST_SEED, OneOf

NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null", dict: "mapping"}


def parameter_reference() -> str:
    """One section a block; for a family a table of what all choices share, then one of each choice's own keys."""
    parts = [
        "## seeds",
        f"A list of distinct whole numbers from 0 to {LARGEST_SEED:,}. Each seed has its own model and policy.",
        "## baselines",
        f"A list of one or more of {', '.join(f'`{name}`' for name in BASELINES)}: learners that need no world model. "
        "The report compares the policy with the best of them. Each is a stage of its own for every seed, and has the "
        "block of its name, which may be missing if the list does not name it.",
    ]
    for name, kind in blocks().items():
        parts.append(f"## {name}")
        if isinstance(kind, Family):
            parts += _family(name, kind)
        else:
            parts += [_explained(kind), _table(kind, without=set())]
    return "\n\n".join(part for part in parts if part)


def _family(name: str, family: Family) -> Iterator[str]:
    configs: Mapping[str, Any] = {choice: entry.Config for choice, entry in family.registry.items()}
    fields = [{field.name for field in dataclasses.fields(config)} for config in configs.values()]
    shared = set.intersection(*fields)
    yield f"`{family.key}` is one of {', '.join(f'`{choice}`' for choice in configs)}."
    bases = set.intersection(*({*config.__mro__} for config in configs.values())) - {object}
    base = max(bases, key=lambda kind: len(dataclasses.fields(kind)), default=None)
    if base is not None:
        yield from (f"All of them have these keys. {_explained(base)}", _table(base, without=set()))
    if family.common is not None:
        yield from (f"All of them have these keys. {_explained(family.common)}", _table(family.common, without=set()))
    shared = shared if base is not None else set()
    for choice, config in configs.items():
        yield f"### {name}: {family.key}: {choice}"
        yield _explained(config) if config is not base else ""
        yield _table(config, without=shared) or "No keys of its own."


def _explained(config: type) -> str:
    """The docstring of a config class, where it has one of its own."""
    text = inspect.cleandoc(config.__doc__ or "")
    automatic = text.startswith((f"{config.__name__}(", "The block `"))
    return "" if automatic else linked(text)


def _table(config: Any, without: set[str]) -> str:
    hints, texts = get_type_hints(config, include_extras=True), meanings(config)
    rows = [
        f"| `{field.name}` | {kind_of(hints[field.name])} | {_default(field)} | {_cell(texts.get(field.name, ''))} |"
        for field in dataclasses.fields(config)
        if field.name not in without
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) if rows else ""


def kind_of(hint: Any) -> str:
    """A type in the words of YAML, with its limits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = list(limits(arguments[1:]))
        words = [] if bounds and bounds[0].startswith("`") else [kind_of(arguments[0])]
        return " ".join([*words, ", ".join(bounds)]).strip()
    if origin is Literal:
        return " or ".join(f"`{_yaml(value)}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(kind_of(part) for part in arguments)
    if origin is list:
        return f"list: {kind_of(arguments[0])}"
    if dataclasses.is_dataclass(hint):
        return "block of options"
    return NAMES.get(origin or hint, str(getattr(hint, "__name__", hint)))


def limits(metadata: tuple[Any, ...]) -> Iterator[str]:
    """What an annotation says about the values of a field, without the bounds that all numbers share."""
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from limits(tuple(entry.metadata))
        elif isinstance(entry, OneOf):
            yield " or ".join(f"`{choice}`" for choice in entry.choices)
        elif isinstance(entry, annotated_types.Ge) and entry.ge != -LARGEST:
            yield f"≥ {_plain(entry.ge)}"
        elif isinstance(entry, annotated_types.Gt):
            yield f"> {_plain(entry.gt)}"
        elif isinstance(entry, annotated_types.Le) and entry.le not in (LARGEST, LARGEST_COUNT):
            yield f"≤ {_plain(entry.le)}"
        elif isinstance(entry, annotated_types.Lt):
            yield f"< {_plain(entry.lt)}"


def _plain(bound: Any) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{_yaml(field.default)}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{_yaml(field.default_factory())}`"
    return "required"


def _yaml(value: Any) -> str:
    """A value as params.yaml would hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{{{', '.join(f'{key}: {_yaml(entry)}' for key, entry in dataclasses.asdict(value).items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
