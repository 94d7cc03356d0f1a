"""The progress of a sweep: one line that moves on a terminal, or a line for each point elsewhere."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.tracking.stage_lines import duration

STAGE = re.compile(r"(?:Running stage|Stage) '([^']+)'")


class SweepProgress:
    """Point k of n, its settings, the stage that runs, the time so far and what is left by the points that ran.

    ``reused`` is set by a point that did not have to run: it says nothing about the time of the others.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self.total, self.reused = total, False
        self.console = console or Console(stderr=True)
        self._times: list[float] = []
        self._number = 0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    @contextmanager
    def point(self, label: str) -> Iterator[Callable[[str], None]]:
        """Show one point. Gives the function that takes each line of its output."""
        self._number += 1
        self.reused = False
        start = time.monotonic()
        place = f"point {self._number} of {self.total}: {label}"

        def line(text: str) -> None:
            if stage := STAGE.search(text):
                self._bar.update(self._task, description=f"{place}, {stage[1]}", left=self.left(start))

        self._bar.update(self._task, description=place, left=self.left(start))
        self._say(place)
        try:
            yield line
        except ValueError:
            self._say(f"{place}: failed after {duration(time.monotonic() - start)}")
            raise
        finally:
            self._bar.advance(self._task)
        if not self.reused:
            self._times.append(time.monotonic() - start)
        after = "run before" if self.reused else f"done in {duration(self._times[-1])}"
        self._say(f"{place}: {after}")

    def left(self, start: float) -> str:
        """The time that is left, by the mean of the points that ran; empty before the first one ended."""
        if not self._times:
            return ""
        mean = sum(self._times) / len(self._times)
        current = max(mean - (time.monotonic() - start), 0.0)
        return f"about {duration(current + mean * (self.total - self._number))} left"

    def _say(self, text: str) -> None:
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True, markup=False, highlight=False)
