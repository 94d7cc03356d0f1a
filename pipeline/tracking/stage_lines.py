"""The lines around a stage: which of how many it is, and at its end what it wrote and how long it took."""

import time
from pathlib import Path

import psutil

from pipeline.tracking.dvc_files import stage_definitions
from pipeline.tracking.execution import Execution


class StageLines:
    """The lines of the stage at ``address`` (``learn_policy@0``) in the order of dvc.yaml, each seed counted."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._definitions = stage_definitions(Path("dvc.yaml"))
        self._begun = psutil.Process().create_time()
        self._ready = self._begun

    @property
    def place(self) -> str:
        """``stage 5 of 8``; empty for a stage that dvc.yaml does not define."""
        if self.address not in self._definitions:
            return ""
        return f"stage {list(self._definitions).index(self.address) + 1} of {len(self._definitions)}"

    def ready(self) -> None:
        """Imports and tracking are done, and work begins."""
        self._ready = time.time()

    def first(self) -> str:
        """``stage 5 of 8: learn_policy@0``."""
        return ": ".join(part for part in (self.place, self.address) if part)

    def last(self) -> list[str]:
        """What the stage wrote and its seconds; after the last stage also those of the whole execution."""
        now, starting = time.time(), self._ready - self._begun
        seconds = f"{duration(now - self._begun)}, {duration(starting)} of it to start"
        outs = self._definitions[self.address].outs if self.place else []
        lines = [f"{self.first()} done in {seconds}" + (f"; wrote {', '.join(outs)}" if outs else "")]
        execution = Execution.current()
        if self.address == next(reversed(self._definitions), None) and execution.pid != psutil.Process().pid:
            lines.append(f"{execution.command}: {duration(now - execution.started)}")
        return lines


def duration(seconds: float) -> str:
    """``7.9 s``, ``12 min 5 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
