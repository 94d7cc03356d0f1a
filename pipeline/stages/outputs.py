"""The outputs of a stage: one process at a time owns them, writes beside them, and puts all in place at its end."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PARTIAL = ".partial"  # below data/ and reports/; git ignores it, and no stage depends on it
TOPS = ("data", "reports")  # the folders that hold outputs
REPLACED = ".replaced"  # the suffix of an earlier output in PARTIAL, until the new one stands in its place
PATIENCE = 30.0  # seconds; an orphan of DVC ends within a few
INTERVAL = 0.2


class Outputs:
    """Where a stage writes. ``label`` names the stage and its seed. Only the owner of ``lock`` puts outputs in place;
    without a lock, as in the additional processes of DDP, nothing is."""

    def __init__(self, label: str, lock: "Lock | None") -> None:
        self._label, self._lock = label, lock
        self._paths: dict[Path, Path] = {}

    def path(self, final: Path | str) -> Path:
        """Where to write the output ``final``, a path below data/ or reports/, until :meth:`publish`. Its parent
        exists."""
        top, *rest = Path(final).parts
        temporary = self._folder(top).joinpath(*rest)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        self._paths[Path(final)] = temporary
        return temporary

    def publish(self) -> None:
        """Replace the outputs of an earlier run, each as a whole. Raises ValueError if another process took the lock
        meanwhile."""
        if self._lock is None:
            return
        self._lock.check()
        for final, temporary in self._paths.items():
            final.parent.mkdir(parents=True, exist_ok=True)
            _replace(temporary, final)
        self._paths.clear()

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Starts with empty temporary folders, which a killed run may have left full, and leaves none behind. An
        earlier output that was moved away and not replaced comes back."""
        self._clear()
        try:
            yield
        finally:
            self._clear()

    def _folder(self, top: str) -> Path:
        return Path(top) / PARTIAL / self._label

    def _clear(self) -> None:
        for top in TOPS:
            delete_partial(self._folder(top))


def delete_partial(folder: Path) -> None:
    """Delete the temporary folder of a stage in ``PARTIAL``, which stays for other stages. What a kill kept from being
    replaced goes back to its place first."""
    for old in list(folder.rglob(f"*{REPLACED}")):
        final = folder.parents[1] / old.relative_to(folder).with_suffix("")
        if not os.path.lexists(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(old, final)
    shutil.rmtree(folder, ignore_errors=True)


def _replace(temporary: Path, final: Path) -> None:
    """Put a file or folder in place of what stands there. A link is replaced too, and what it points at stays."""
    old = temporary.with_name(f"{temporary.name}{REPLACED}")
    if final.is_dir() or (temporary.is_dir() and os.path.lexists(final)):  # what a rename does not replace
        shutil.move(final, old)
    shutil.move(temporary, final)  # a rename, unless `final` lies on another disk
    if old.is_symlink():
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)


class Lock:
    """A lock on a file that names its holder. The end of the process releases it, however it ends."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path, self._file = path, file

    def check(self) -> None:
        """Raises ValueError if the file was deleted or replaced, so that another process may hold the same lock."""
        if not _is_at(self._file, self._path):
            raise ValueError(
                f"{self._path}: deleted while this stage ran, so another process may own its outputs; they are left as"
                " they were: run the stage again"
            )


@contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[Lock]:
    """Hold the lock at ``path``. Waits for its holder for ``PATIENCE`` seconds and says so.

    Raises ValueError that names the holder when that was in vain.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _acquire(path, say) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield Lock(path, file)
        finally:
            if _is_at(file, path):
                path.unlink()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at ``path``."""
    if not path.exists():
        return False
    file = _try(path)
    if file is not None:
        file.close()
    return file is None


def holder_of(path: Path) -> str:
    """The process id in the lock at ``path``, which its holder deletes at any moment."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return "unknown"


def _acquire(path: Path, say: Callable[[str], None]) -> IO[str]:
    until = time.monotonic() + PATIENCE
    while (file := _try(path)) is None:
        holder = holder_of(path)
        if time.monotonic() > until:
            raise ValueError(f"{path}: process {holder} writes the same outputs; wait for its end, or end it first")
        say(f"waiting for process {holder}, which writes the same outputs")
        say = _silent
        time.sleep(INTERVAL)
    return file


def _try(path: Path) -> IO[str] | None:
    file = path.open("a+")  # unlike "w", it keeps the holder's name
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(file, path):
            return file
    except BlockingIOError:
        pass
    file.close()
    return None


def _silent(text: str) -> None:
    pass


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether ``path`` is this open file: the holder before may have deleted it after it was opened here."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
