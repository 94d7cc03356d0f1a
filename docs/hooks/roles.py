"""Griffe extension: docstrings name code as Sphinx does (:class:`pipeline.x.Y`); pages link it where they can."""

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|mod|data):`(~?)([\w.]+)`")


def linked(text: str) -> str:
    """``text`` with every role as a link that may stay unresolved."""

    def link(match: re.Match[str]) -> str:
        short, target = match.groups()
        name = target.rsplit(".", 1)[-1] if short else target
        return f'<autoref optional identifier="{target}"><code>{name}</code></autoref>'

    return ROLE.sub(link, text)


class Roles(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = linked(obj.docstring.value)
