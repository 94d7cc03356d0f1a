"""What the stages send to MLflow, on disk before it is sent, so that no tracking server costs a stage its work."""

import fcntl
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, count
from pathlib import Path
from typing import Any, Self

from pipeline.tracking.paths import work_dir

Event = Mapping[str, Any]  # ``kind``, the ``run`` it belongs to, and what the kind needs; plain JSON
PLURAL = {"point": "points", "file": "files", "other entry": "other entries"}


class Spool:
    """The events of one run in a folder: a JSON line each in ``events.jsonl``, and in ``sent`` the numbers of the lines
    that the store has, or refuses for good. Events keep their lines until the run ends, because a resumed run looks
    up what it logged.

    One process at a time holds a spool; the threads of that process may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._events, self._sent = folder / "events.jsonl", folder / "sent"
        self._lock = threading.Lock()
        self._offsets: dict[int, int] = {}  # of the lines that wait, by their numbers
        self._count = self._end = 0
        self._about: dict[str, str] = {}

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
        return self._about["uri"]

    @property
    def run_id(self) -> str:
        """The run that the events belong to, or whose stage wrote them for its parent."""
        return self.folder.name

    def append(self, events: Sequence[Event]) -> None:
        """Write events; they are on disk when this returns. After an OSError or a signal, write them again: what the
        call that was cut off left behind the last complete one is deleted first."""
        if not events:
            return
        with self._lock, self._events.open("ab") as file:
            begin = min(self._end, file.tell())
            file.truncate(begin)
            lines = [(json.dumps(event) + "\n").encode() for event in events]
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
            *begins, end = accumulate(map(len, lines), initial=begin)
            self._offsets.update(zip(count(self._count), begins, strict=False))
            self._count, self._end = self._count + len(lines), end

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
        """The store has this event, or refuses it for good: its files are no longer needed."""
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
        """An empty folder for what one event carries. Raises OSError, also if someone deleted the spool."""
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        folder = files / str(max((int(path.name) for path in files.iterdir()), default=-1) + 1)
        folder.mkdir()
        return folder

    def describe_waiting(self) -> str:
        """``312 points, 2 files, 4 other entries``; empty if nothing waits."""
        counts: Counter[str] = Counter()
        for event in map(self.event, self.waiting()):
            counts += entries(event)
        return in_words(counts)

    def resumable(self) -> bool:
        """Whether an interrupted stage may go on with this run."""
        return (work_dir() / self._about["resume"] / "run_id").exists()

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
        self._about = dict(json.loads((self.folder / "run.json").read_text()))
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


def spools_dir() -> Path:
    """The folder that holds a spool for each run that is not closed."""
    return work_dir() / "tracking"


def entries(event: Event) -> Counter[str]:
    """How many points, files and other entries an event holds."""
    kind = "point" if "points" in event else "file" if "path" in event else "other entry"
    return Counter({kind: len(event.get("points", [0]))})


def in_words(counts: Mapping[str, int]) -> str:
    """``312 points, 2 files``; empty for no entries."""
    numbers = {kind: counts.get(kind, 0) for kind in PLURAL}
    return ", ".join(f"{n} {kind if n == 1 else PLURAL[kind]}" for kind, n in numbers.items() if n)


def _write_synced(path: Path, text: str) -> None:
    with path.with_suffix(".partial").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".partial").replace(path)
