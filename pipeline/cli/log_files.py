"""Whether the files that the block ``dataset`` names exist. DVC asks for them before any stage runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.ingest.sources.plain_files import refuse_special
from pipeline.ingest.transform import FOLDER

CREATED = ("minari", "collect")  # sources that need no log, only a folder


def missing_files(dataset: Mapping[str, Any], root: Path) -> list[str]:
    """One line with the fix for each file that the block ``dataset`` names and ``root`` lacks, or that is no file."""
    paths: dict[str, str] = {}
    for key in ("path", "held_out_path"):
        if dataset.get(key) is not None:
            paths.setdefault(str(dataset[key]), key)
    lines = [_line(dataset, key, path) for path, key in paths.items() if not (root / path).exists()]
    lines += [line for path in paths if (line := _special(root / path))]
    module = str(dataset.get("transform") or "").partition(":")[0]
    if module and not (root / FOLDER / f"{module}.py").is_file():
        lines.append(f"{FOLDER / module}.py: not found; write it, or correct `dataset.transform` in params.yaml")
    return lines


def _special(path: Path) -> str | None:
    """What :func:`refuse_special` says, which DVC would read and wait for."""
    try:
        refuse_special(path)
    except ValueError as error:
        return str(error)
    return None


def _line(dataset: Mapping[str, Any], key: str, path: str) -> str:
    if dataset.get("source") in CREATED:
        return f"{path}: not found; create the folder (`mkdir -p {path}`), or correct `dataset.{key}` in params.yaml"
    fix = f"put the log there, or correct `dataset.{key}` in params.yaml"
    return f"{path}: not found; {fix} (`python -m pipeline inspect FILE --write` writes the block)"
