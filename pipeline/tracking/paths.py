"""The folder of the main project, also from within a temporary copy that DVC made."""

from pathlib import Path

TEMPORARY = (".dvc", "tmp", "exps")  # `dvc exp run --temp` and DVC's queue work in copies below this folder
MARKS = (".dvc", "dvc.yaml", "params.yaml")


def main_project(start: Path | None = None) -> Path:
    """The absolute root of the main project, seen from its root, a folder below it, or DVC's temporary copy."""
    here = (start or Path.cwd()).resolve()
    parts = here.parts
    for i in range(len(parts) - len(TEMPORARY)):
        if parts[i : i + len(TEMPORARY)] == TEMPORARY:
            return Path(*parts[:i])
    return next((p for p in (here, *here.parents) if any((p / mark).exists() for mark in MARKS)), here)


def work_dir() -> Path:
    """The folder for log files, the default MLflow store and resume points; git ignores it."""
    return main_project() / ".work"
