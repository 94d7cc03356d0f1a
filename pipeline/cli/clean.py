"""``clean``: what takes space and is of no more use, and its deletion."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.cli.clean_store import StoreWaste
from pipeline.stages.outputs import PARTIAL, TOPS, delete_partial, holder_of, is_held
from pipeline.tracking.paths import TEMPORARY, main_project, work_dir
from pipeline.tracking.resume import UNUSABLE
from pipeline.tracking.spool import spools_dir

DAY = 86400.0
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Waste:
    """One kind of files that may go."""

    what: str
    count: int
    size: int  # bytes
    delete: Callable[[], None]


def clean(delete: bool, days: float, keep: int | None) -> Iterator[str]:
    """Yield what may go and how much it is; with ``delete``, delete it. Resume points go ``days`` after their last use,
    and the artifacts of all but the newest ``keep`` executions; None keeps all of these.

    Raises ValueError while a stage or DVC runs in this project, if something is to be deleted.
    """
    if delete and (running := runs_here(main_project())):
        raise ValueError(f"{', '.join(running)}: wait for its end, or end it, before you delete what it may use")
    total = 0
    for waste in wastes(days, keep):
        if waste.count == 0:
            continue
        total += waste.size
        yield f"{in_units(waste.size):>8}  {waste.count:>4}  {waste.what}"
        if delete:
            waste.delete()
    if not delete:
        yield f"{in_units(total):>8} in all; nothing is deleted yet: `python -m pipeline clean --delete` does it"
    else:
        yield f"{in_units(total):>8} deleted"


def wastes(days: float, keep: int | None) -> Iterator[Waste]:
    """Everything that may go, by kind."""
    root, work = main_project(), work_dir()
    points = [path for path in work.glob("resume/*/*") if path.is_dir()]
    old = [path for path in points if age(path) > days * DAY]
    yield _files(f"resume points that were not used for {days:g} days", old)
    broken = [path for folder in points if folder not in old for path in folder.iterdir() if path.suffix in UNUSABLE]
    yield _files("damaged and half-written resume points", broken)
    yield _files("locks of stages that were killed", [lock for lock in _locks() if not is_held(lock)])
    partial = [path for top in TOPS for path in (root / top / PARTIAL).glob("*")]
    yield _files("unfinished outputs of stages that were killed", partial, delete_partial)
    waiting = [mark.parent for mark in spools_dir().glob("*/run.json") if _is_left(mark.parent, days)]
    what = f"metrics and files that waited more than {days:g} days for a tracking server"
    yield _files(what, waiting, lambda spool: remove(spool) if _is_left(spool, days) else None)
    exps = root.joinpath(*TEMPORARY)
    copies = [mark.parent for pattern in ("*/.dvc", "*/*/.dvc") for mark in exps.glob(pattern)]
    yield _files("copies of the project that interrupted experiments left", copies)
    runs = root / ".dvc/cache/runs"
    yield _files("half-written files in DVC's cache, at which `dvc repro` fails", list(runs.glob("*/*/.*.tmp")))
    if (work / "mlflow.db").exists():
        mlflow = StoreWaste(work / "mlflow.db", keep)
        if keep is not None:
            what = f"runs of all but the newest {keep} executions, whose files go and whose metrics stay"
            yield Waste(what, len(mlflow.old), _sizes(mlflow.folders(mlflow.old)), mlflow.delete_old)
        size = _sizes(mlflow.folders(mlflow.deleted))
        yield Waste("runs that were deleted in MLflow", len(mlflow.deleted), size, mlflow.delete_deleted)


def remove(path: Path) -> None:
    """Delete a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _files(what: str, paths: Sequence[Path], delete: Callable[[Path], None] = remove) -> Waste:
    return Waste(what, len(paths), _sizes(paths), lambda: _delete(paths, delete))


def _delete(paths: Sequence[Path], delete: Callable[[Path], None]) -> None:
    """Delete files and folders, and the folder around them if that leaves it empty."""
    for path in paths:
        delete(path)
        with suppress(OSError):  # not empty
            path.parent.rmdir()


def _is_left(spool: Path, days: float) -> bool:
    """Whether no process holds the events of a run, and none came for ``days``. A look at them writes the lock."""
    return not is_held(lock := spool / "lock") and age(spool, lock) > days * DAY


def age(folder: Path, but: Path | None = None) -> float:
    """Seconds since the last change of a file in ``folder``, of all ``but`` one."""
    times = [path.stat().st_mtime for path in (folder, *folder.rglob("*")) if path != but]
    return time.time() - max(times)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _sizes(paths: Sequence[Path]) -> int:
    return sum(map(size_of, paths))


def in_units(size: float) -> str:
    """``820 B``, ``1.3 GB``."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"


def runs_here(root: Path) -> list[str]:
    """The stages and DVC commands that work in the project, as ``dvc repro (process 12)``."""
    busy = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parts = process.cmdline()[1:4]
            ours = any(Path(part).name == "dvc" or part.startswith("pipeline.stages.") for part in parts)
            if ours and Path(process.cwd()).is_relative_to(root):
                busy.append(f"{' '.join(Path(part).name for part in parts if part != '-m')} (process {process.pid})")
    return busy or [f"{lock.stem} (process {holder_of(lock)})" for lock in _locks() if is_held(lock)]


def _locks() -> list[Path]:
    return list((work_dir() / "locks").glob("*.lock"))
