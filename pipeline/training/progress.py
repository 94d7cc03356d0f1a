"""How far a training is: one line that is drawn again in a terminal, a line every half minute elsewhere."""

import shutil
import sys
import time
from datetime import timedelta
from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT

from pipeline.validation.pace import LINE_SECONDS  # a shorter training prints its last line alone

REDRAW_SECONDS = 0.2
BAR = 20  # signs


@runtime_checkable
class Counted(Protocol):
    """A Lightning module that counts its epochs, over all interruptions."""

    epochs_done: int


class Progress(Callback):
    """Prints the epoch, counted from 1, the share that is done, the time of an epoch, the time left at most, and the
    watched metrics."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._first = 0  # epochs that an interrupted run has done
        self._started = self._printed = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        assert isinstance(pl_module, Counted)
        self._first = pl_module.epochs_done
        self._started = self._printed = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        """Print a line if it is time for one."""
        now, done = time.monotonic(), trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
        share = done / (trainer.max_epochs or 1)
        if not trainer.is_global_zero or now - self._printed < (REDRAW_SECONDS if self._terminal else LINE_SECONDS):
            return
        self._printed, seconds = now, now - self._started
        left = timedelta(seconds=round(seconds * (1 - share) / share))
        epoch, total = self._first + trainer.current_epoch + 1, self._first + (trainer.max_epochs or 0)
        bar = _bar(share) if self._terminal else ""
        rate = f"{seconds / done:.2f} s an epoch"
        self._show(f"{bar}epoch {epoch} of {total}, {share:.0%}, {rate}, {left} left{_metrics(trainer)}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how long it took."""
        if trainer.is_global_zero:
            assert isinstance(pl_module, Counted)
            total = self._first + (trainer.max_epochs or 0)
            seconds = time.monotonic() - self._started
            self._show(f"trained {pl_module.epochs_done} of {total} epochs in {seconds:.1f} s{_metrics(trainer)}")
            self._end_line()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the line as it is, for the message that follows."""
        self._end_line()

    def _show(self, line: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", flush=True)
        else:
            print(line, flush=True)

    def _end_line(self) -> None:
        if self._terminal:
            print(flush=True)


def _bar(share: float) -> str:
    done = round(BAR * share)
    return "━" * done + "─" * (BAR - done) + " "


def _metrics(trainer: Trainer) -> str:
    return "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in trainer.progress_bar_metrics.items())
