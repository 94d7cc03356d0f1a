"""What the fields of config classes say beyond their types: defaults as plain values, and meanings from comments."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from typing import Any


def default(field: "dataclasses.Field[Any]") -> Any:
    """A field's default in plain containers. Raises ValueError for a field without one."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        return [_as_dict(entry) for entry in value] if isinstance(value, list) else value
    if field.default is dataclasses.MISSING:
        raise ValueError(f"`{field.name}` has no default: the preset must set it")
    return field.default


def _as_dict(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


@lru_cache
def meanings(config: type) -> dict[str, str]:
    """What each field of a config class means: the comment beside it, or else above it.

    Fields of base classes count too. A field without a comment has the meaning ""."""
    texts: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        texts |= {key: text for key, text in _comments(kind) if text or key not in texts}
    return texts


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    source = textwrap.dedent(inspect.getsource(kind))
    lines, parsed = source.splitlines(), ast.parse(source).body[0]
    assert isinstance(parsed, ast.ClassDef)
    for node in parsed.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno is not None:
            beside = lines[node.end_lineno - 1][node.end_col_offset or 0 :].strip()
            yield node.target.id, beside.removeprefix("#").strip() or _above(lines[: node.lineno - 1])


def _above(lines: list[str]) -> str:
    """The comment lines that end ``lines``."""
    comment: list[str] = []
    while lines and (line := lines.pop().strip()).startswith("#"):
        comment.insert(0, line.removeprefix("#").strip())
    return " ".join(comment)
