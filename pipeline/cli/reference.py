"""What the options of params.yaml mean: the comment beside each field of a config class, or the comment above a field
that has none beside it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import lru_cache


@lru_cache
def meanings(config: type) -> dict[str, str]:
    """What each field of a config class means, those of its base classes too; "" for a field without a comment."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if kind is not object:
            found |= {key: text for key, text in _comments(kind) if text or key not in found}
    return found


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    parsed = ast.parse(source).body[0]
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
