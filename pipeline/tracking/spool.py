"""What the stages send to MLflow, on disk before it is sent, so that no tracking server costs a stage its work."""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pipeline.tracking.paths import work_dir

Event = Mapping[str, Any]  # ``kind``, the ``run`` it belongs to, and what the kind needs; plain JSON
PLURAL = {"point": "points", "file": "files", "other entry": "other entries"}


class Spool:
    """The events of one run in a folder: a JSON line each in ``events.jsonl``, and the numbers of the lines that the
    store has in ``sent``. Events keep their lines until the run ends, because a resumed run looks up what it logged.

    One process at a time holds a spool; the threads of that process may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events, self._sent = folder / "events.jsonl", folder / "sent"
        self._lock = threading.Lock()
        self._offsets: dict[int, int] = {}  # of the lines that wait, by their numbers
        self._count = self._end = 0

    @classmethod
    def create(cls, run_id: str, uri: str, resume: Path) -> Self:
        """The spool of a run in the store at ``uri``. Waits while another process sends it; ``resume`` is the folder
        that exists as long as the run may go on."""
        spool = cls(spools_dir() / run_id)
        spool.folder.mkdir(parents=True, exist_ok=True)
        spool._acquire(fcntl.LOCK_EX)
        about = {"uri": uri, "resume": os.path.relpath(resume, work_dir())}
        _write_synced(spool.folder / "run.json", json.dumps(about))
        spool._read()
        return spool

    @classmethod
    def left(cls) -> "Iterator[Spool]":
        """The spools of this project that no living stage holds, opened one after the other."""
        for file in sorted(spools_dir().glob("*/run.json")):
            spool = cls(file.parent)
            try:
                spool._acquire(fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            try:
                if file.exists():  # its stage may have deleted it meanwhile
                    spool._read()
                    yield spool
            finally:
                spool.close()

    @property
    def uri(self) -> str:
        """The address of the store."""
        return str(self._about()["uri"])

    @property
    def run_id(self) -> str:
        """The run that the events belong to, or whose stage wrote them for its parent."""
        return self.folder.name

    def append(self, events: Sequence[Event]) -> None:
        """Write events; they are on disk when this returns. Raises OSError, and then has written none."""
        if not events:
            return
        with self._lock, self._events.open("ab") as file:
            lines = [(json.dumps(event) + "\n").encode() for event in events]
            try:
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._events, self._end)
                raise
            for line in lines:
                self._offsets[self._count] = self._end
                self._count, self._end = self._count + 1, self._end + len(line)

    def waiting(self) -> list[int]:
        """The numbers of the events that the store lacks, in the order in which they happened."""
        with self._lock:
            return list(self._offsets)

    def event(self, number: int) -> Event:
        """An event that waits."""
        with self._lock, self._events.open("rb") as file:
            file.seek(self._offsets[number])
            event: Event = json.loads(file.readline())
            return event

    def mark_sent(self, number: int) -> None:
        """The store has this event: its files are no longer needed."""
        path = self.event(number).get("path")
        with self._lock, self._sent.open("a") as file:
            file.write(f"{number}\n")
            del self._offsets[number]
        if path is not None:
            shutil.rmtree((self.folder / path).parent, ignore_errors=True)

    def logged(self) -> Iterator[Event]:
        """All events, those that were sent too."""
        if self._events.exists():
            with self._events.open("rb") as file:
                for line in file:
                    yield json.loads(line)

    def new_folder(self) -> Path:
        """An empty folder for what one event carries."""
        taken = [int(path.name) for path in self.folder.glob("files/*")]
        folder = self.folder / "files" / str(max(taken, default=-1) + 1)
        folder.mkdir(parents=True)
        return folder

    def describe_waiting(self) -> str:
        """``312 points, 2 files, 4 other entries``; empty if nothing waits."""
        counts = dict.fromkeys(PLURAL, 0)
        for event in map(self.event, self.waiting()):
            kind = "point" if "points" in event else "file" if "path" in event else "other entry"
            counts[kind] += len(event.get("points", [0]))
        return ", ".join(f"{n} {kind if n == 1 else PLURAL[kind]}" for kind, n in counts.items() if n)

    def resumable(self) -> bool:
        """Whether an interrupted stage may go on with this run."""
        return (work_dir() / self._about()["resume"] / "run_id").exists()

    def delete_if_done(self) -> None:
        """Delete the spool of a run that has ended, once the store has everything."""
        if not self._offsets and not self.resumable():
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Leave the spool to other processes."""
        self._holder.close()

    def _acquire(self, how: int) -> None:
        self._holder = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._holder, how)
        except OSError:
            self._holder.close()
            raise

    def _read(self) -> None:
        if not self._events.exists():
            return
        numbers = self._sent.read_text().split("\n")[:-1] if self._sent.exists() else []  # the last may be cut too
        with self._events.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # a kill cut the last line
                self._offsets[self._count] = self._end
                self._count, self._end = self._count + 1, self._end + len(line)
        os.truncate(self._events, self._end)
        for number in numbers:
            self._offsets.pop(int(number), None)

    def _about(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "run.json").read_text()))


def spools_dir() -> Path:
    """The folder that holds a spool for each run that is not closed."""
    return work_dir() / "tracking"


def _write_synced(path: Path, text: str) -> None:
    with path.with_suffix(".partial").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".partial").replace(path)
