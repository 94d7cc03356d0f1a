"""Where the main project is, also from a temporary copy that DVC made of it."""

from pathlib import Path

TEMPORARY = (".dvc", "tmp", "exps")  # `dvc exp run --temp` and the queue work in a copy below this folder
MARKS = (".dvc", "dvc.yaml", "params.yaml")


def main_project(start: Path | None = None) -> Path:
    """The main project's root, absolute: the same folder from its root, a folder below it, or DVC's temporary copy."""
    here = (start or Path.cwd()).resolve()
    parts = here.parts
    for i in range(len(parts) - len(TEMPORARY)):
        if parts[i : i + len(TEMPORARY)] == TEMPORARY:
            return Path(*parts[:i])
    return next((p for p in (here, *here.parents) if any((p / mark).exists() for mark in MARKS)), here)


def work_dir() -> Path:
    """The git-ignored folder for logs, the default MLflow store and resume points."""
    return main_project() / ".work"
