"""The commands of ``python -m pipeline`` as Markdown, from the Typer app."""

from typing import Any

import typer

from pipeline.__main__ import app

USAGE = "python -m pipeline"


def command_reference() -> str:
    """One section a command: what it does, its arguments and options with defaults."""
    group: Any = typer.main.get_command(app)  # a class of click or of Typer's own copy of it
    return "\n".join(_section(name, command) for name, command in sorted(group.commands.items()))


def _section(name: str, command: Any) -> str:
    params = [param for param in command.params if param.name != "help"]
    words = [_usage(param) for param in params]
    lines = [f"## {name}", "", command.help or "", "", "```text", " ".join([USAGE, name, *words]), "```", ""]
    if params:
        rows = [f"| `{_name(param)}` | {_default(param)} | {param.help or ''} |" for param in params]
        lines += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _name(param: Any) -> str:
    return str(param.opts[0] if param.param_type_name == "option" else param.name.upper())


def _usage(param: Any) -> str:
    several = "..." if param.nargs == -1 else ""
    word = _name(param) + several
    if param.param_type_name == "option":
        word = f"{word} {param.name.upper()}"
    return word if param.required else f"[{word}]"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    return "" if param.default is None else f"`{param.default}`"
