"""The parts of dvc.yaml that stage keys need, read without DVC, whose import takes longer than a short stage."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PLACEHOLDER = re.compile(r"\$\{\s*([^}]+?)\s*\}")


@dataclass(frozen=True)
class StageDefinition:
    """Dependencies, parameters (by file) and outputs of one stage, with ``foreach`` and ``matrix`` expanded."""

    deps: list[str]
    params: dict[str, list[str]]
    outs: list[str]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as DVC reads it; {} if it is missing. Equal contents are read once, because that takes a while."""
    return _parsed(path.read_text()) if path.exists() else {}


@lru_cache(maxsize=16)
def _parsed(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text) or {}


def stage_definitions(path: Path) -> dict[str, StageDefinition]:
    """Every stage of a dvc.yaml by its address. Placeholders are filled from params.yaml in the same folder."""
    return definitions_in(read_yaml(path), read_yaml(path.with_name("params.yaml")))


def definitions_in(pipeline: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, StageDefinition]:
    """The same from the contents of both files."""
    definitions = {}
    for name, entry in pipeline.get("stages", {}).items():
        for stage, body, context in _expand(name, entry, values):
            definitions[stage] = _definition(_fill(body, context))
    return definitions


def dependency_md5(path: Path) -> str:
    """The md5 that DVC gives a file (of its bytes) or a folder (of its sorted list of files); "" when missing.

    Compiled Python files do not count: ``.dvcignore`` hides them from DVC, because an import writes them.
    """
    if path.is_dir():
        files = [p for p in path.rglob("*") if p.is_file() and not _is_compiled(p.relative_to(path))]
        rows = [{"md5": _file_md5(p), "relpath": p.relative_to(path).as_posix()} for p in files]
        text = json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
    return _file_md5(path) if path.exists() else ""


def _is_compiled(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix == ".pyc"


def _expand(
    name: str, entry: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    if "matrix" in entry:
        axes = {axis: _listed(_fill(options, values)) for axis, options in entry["matrix"].items()}
        for chosen in itertools.product(*axes.values()):
            key = "-".join(str(value) for value in chosen)
            yield f"{name}@{key}", entry, {**values, "item": dict(zip(axes, chosen, strict=True)), "key": key}
    elif "foreach" in entry:
        items = _fill(entry["foreach"], values)
        pairs = items.items() if isinstance(items, Mapping) else ((_item_key(i, x), x) for i, x in enumerate(items))
        for key, item in pairs:
            yield f"{name}@{key}", entry["do"], {**values, "item": item, "key": key}
    else:
        yield name, entry, dict(values)


def _listed(options: Any) -> list[Any]:
    """The options of a matrix; none where params.yaml holds no list, which the checks of that file report."""
    return options if isinstance(options, list) else []


def _item_key(index: int, item: Any) -> str:
    return str(index) if isinstance(item, Mapping | list) else str(item)


def _definition(body: Mapping[str, Any]) -> StageDefinition:
    params: dict[str, list[str]] = {}
    for entry in body.get("params", []):
        for file, keys in entry.items() if isinstance(entry, Mapping) else [("params.yaml", [entry])]:
            params.setdefault(file, []).extend(keys or [])
    outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(body.get(kind, []))]
    return StageDefinition(_paths(body.get("deps", [])), params, outs)


def _paths(entries: list[Any]) -> list[str]:
    """Without the options that may follow a path."""
    return [next(iter(entry)) if isinstance(entry, Mapping) else entry for entry in entries]


def _fill(tree: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(tree, Mapping):
        return {key: _fill(value, context) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_fill(value, context) for value in tree]
    if not isinstance(tree, str):
        return tree
    whole = PLACEHOLDER.fullmatch(tree)
    if whole:
        return _value(context, whole[1])
    return PLACEHOLDER.sub(lambda match: str(_value(context, match[1])), tree)


def _value(context: Mapping[str, Any], dotted: str) -> Any:
    value: Any = context
    for part in re.findall(r"[^.\[\]]+", dotted):
        if isinstance(value, list):
            value = value[int(part)]
        else:
            value = value.get(part, f"${{{dotted}}}") if isinstance(value, Mapping) else value
    return value


def _file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
