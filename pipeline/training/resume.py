"""Resume points: an interrupted training continues from the last one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


@runtime_checkable
class Resumable(Protocol):
    """A Lightning module that counts its epochs and can be restored to the end of one."""

    epochs_done: int

    def resume_state(self) -> dict[str, Any]:
        """The whole training state, as tensors and plain containers."""

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`resume_state`."""


class ResumePoint(Checkpoint):
    """Writes the training state to ``folder`` after every ``every``-th epoch.

    The file is replaced atomically, so a kill at any moment leaves a complete file. Lightning's loop state is not
    stored, because the random numbers of an epoch depend only on its number. ``before_save`` is called before each
    write: what it stores, such as the metrics of these epochs, is never behind the resume point.

    It is a ``Checkpoint`` because Lightning calls those after the module's ``on_train_epoch_end``, and other callbacks
    before it.
    """

    FILE = "last.pt"

    def __init__(self, folder: Path, every: int = 1, before_save: Callable[[], None] = lambda: None) -> None:
        self.path = folder / self.FILE
        self.every = every
        self.before_save = before_save

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the state, on rank 0."""
        assert isinstance(module, Resumable)
        if trainer.is_global_zero and module.epochs_done % self.every == 0:
            self.before_save()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".partial")
            torch.save(module.resume_state(), partial)
            os.replace(partial, self.path)

    def load_into(self, module: Resumable) -> bool:
        """Restore ``module`` if there is a file; returns whether there was one."""
        if not self.path.exists():
            return False
        # weights_only loads tensors and plain containers and runs no code.
        module.load_resume_state(torch.load(self.path, weights_only=True, map_location="cpu"))
        return True
