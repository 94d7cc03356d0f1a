"""The point that an interrupted training goes on from."""

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


@runtime_checkable
class Resumable(Protocol):
    """A training shell that counts its own epochs and can be put back to the end of one."""

    epochs_done: int

    def resume_state(self) -> dict[str, Any]: ...

    def load_resume_state(self, state: dict[str, Any]) -> None: ...


class ResumePoint(Checkpoint):
    """Writes the whole training state at epoch ends, replacing the last one in a single step, so that a kill at any
    moment leaves a complete file. Lightning's own loop state is not needed: an epoch draws by its number alone.

    It is a ``Checkpoint`` because Lightning calls those after the module's own epoch end, and others before it.
    """

    FILE = "last.pt"

    def __init__(self, folder: Path, every: int = 1) -> None:
        self.path, self.every = folder / self.FILE, every

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Resumable)
        if trainer.is_global_zero and module.epochs_done % self.every == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".partial")
            torch.save(module.resume_state(), partial)
            os.replace(partial, self.path)

    def load_into(self, module: Resumable) -> bool:
        """Put ``module`` back to the saved point, if there is one; True when it was."""
        if not self.path.exists():
            return False
        # weights_only: tensors and plain containers, never code.
        module.load_resume_state(torch.load(self.path, weights_only=True, map_location="cpu"))
        return True
