"""One execution of the pipeline is one process: the nearest DVC process above this one, or this process itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

CLOCK_TOLERANCE = 2.0  # seconds; start times are relative to the boot time, which shifts when the clock is set


@dataclass(frozen=True)
class Execution:
    """A process, by id and start time because ids are reused, and the command that started it."""

    pid: int
    started: float  # seconds since the epoch
    command: str

    @classmethod
    def current(cls) -> Self:
        """The execution that this process belongs to."""
        process = dvc_above() or psutil.Process()
        return cls(process.pid, process.create_time(), command_of(process))

    def same_process(self, other: "Execution") -> bool:
        """Whether both are the same process of this machine."""
        return self.pid == other.pid and abs(self.started - other.started) < CLOCK_TOLERANCE

    def alive(self) -> bool:
        """Whether the process still runs."""
        try:
            process = psutil.Process(self.pid)
            running = process.status() != psutil.STATUS_ZOMBIE
            return running and abs(process.create_time() - self.started) < CLOCK_TOLERANCE
        except psutil.Error:
            return False

    def plain(self) -> dict[str, Any]:
        """The fields as a dict for JSON."""
        return asdict(self)


def dvc_above() -> psutil.Process | None:
    """The nearest DVC process above this one."""
    return next((process for process in psutil.Process().parents() if _is_dvc(process)), None)


def _is_dvc(process: psutil.Process) -> bool:
    try:
        paths = [Path(part) for part in process.cmdline()[:3]]
    except psutil.Error:
        return False
    return any(p.name == "dvc" or (p.name == "__main__.py" and p.parent.name == "dvc") for p in paths)


def command_of(process: psutil.Process) -> str:
    """The command as the user typed it: `dvc repro`, `python -m pipeline.stages.ingest`."""
    parts = process.cmdline()
    if len(parts) > 1 and Path(parts[1]).name == "dvc":
        parts = parts[1:]
    return " ".join([Path(parts[0]).name, *parts[1:]]) if parts else process.name()
