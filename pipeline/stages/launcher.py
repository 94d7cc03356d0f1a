"""A stage ends with the DVC that started it: an orphan would run beside the next `dvc repro`, and write over it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from pipeline.tracking.execution import command_of, dvc_above

INTERVAL = 0.5  # seconds between two looks
PATIENCE = 1.0  # seconds for a line of text, which a full pipe may hold up
GRACE = 10.0  # seconds in which an orphan may close its run
LAUNCHERS = ("RANK", "SLURM_PROCID")  # of torchrun and srun, which stand above the stage and end their ranks themselves


class Launcher:
    """The DVC process above this one. A stage started by hand has none, and no one's end ends it: its shell may go."""

    def __init__(self) -> None:
        self._own = os.getpid()
        self._dvc = dvc_above()
        self._command = "DVC" if self._dvc is None else f"`{command_of(self._dvc)}` (process {self._dvc.pid})"

    def gone(self) -> bool:
        """Whether DVC started this stage and has ended since."""
        if self._dvc is not None:
            return not _runs(self._dvc)
        return "DVC_STAGE" in os.environ and not any(name in os.environ for name in LAUNCHERS) and _adopted()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block, the end of DVC ends this process as SIGTERM does, and after ``GRACE`` seconds anyway."""
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, over: threading.Event) -> None:
        while not self.gone():
            if over.wait(INTERVAL):
                return
        if over.is_set():
            return
        speaker = threading.Thread(target=self._say, daemon=True)
        speaker.start()
        speaker.join(PATIENCE)
        os.kill(self._own, signal.SIGTERM)
        time.sleep(GRACE)
        os._exit(128 + signal.SIGTERM)

    def _say(self) -> None:
        with suppress(OSError, ValueError):  # who read it may be gone, and the main thread may close the log
            print(self.message(), file=sys.stderr, flush=True)

    def message(self) -> str:
        """What an orphan says before it ends."""
        return f"{self._command} ended, so this stage ends too; `dvc repro` goes on from the last resume point"


def _runs(process: psutil.Process) -> bool:
    """Whether the process still runs. `is_running` knows it by its time since the boot, which no new time shifts."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _adopted() -> bool:
    """Whether the parent is of another process group, which DVC never is: it ended before this process looked."""
    try:
        return os.getpgid(os.getppid()) != os.getpgrp()
    except OSError:
        return True
