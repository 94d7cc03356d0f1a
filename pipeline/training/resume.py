"""Resume points: an interrupted training continues from the last one."""

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from pipeline.validation import one_line


@runtime_checkable
class Resumable(Protocol):
    """A Lightning module that counts its epochs and can be restored to the end of one."""

    epochs_done: int

    def resume_state(self) -> dict[str, Any]:
        """The whole training state, as tensors and plain containers."""

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`resume_state`."""


DIGEST = "sha256"  # stands at the end of the file, behind what torch.save wrote
DIGEST_BYTES = hashlib.new(DIGEST).digest_size
DAMAGED = ".damaged"  # the suffix of a file that was set aside
# What loading raises for a state of another training.
MISFITS = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


class ResumePoint(Checkpoint):
    """Writes the training state to ``folder`` after every ``every``-th epoch.

    The file is complete on disk before it replaces the one before, so a kill or a power cut at any moment leaves a
    complete file. If its digest shows that it is damaged, it is set aside and the training starts anew. Lightning's
    loop state is not stored, because the random numbers of an epoch depend only on its number. ``before_save`` is
    called before each write: what it stores, such as the metrics of these epochs, is never behind the resume point.

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
            try:
                _write(module.resume_state(), partial)
            except BaseException:
                partial.unlink(missing_ok=True)  # it would fill a full disk
                raise
            os.replace(partial, self.path)
            _sync(self.path.parent)

    def load_into(self, module: Resumable, say: Callable[[str], None] = print) -> bool:
        """Restore ``module`` if there is a file; returns whether it was restored.

        A damaged file is set aside, which ``say`` gets as a line. Raises ValueError for a whole one that does not fit,
        such as that of another version of torch; it is set aside too.
        """
        try:
            if not _is_whole(self.path):
                say(f"warning: {self.path}: damaged; it is now {self._set_aside()}, and the training starts anew")
                return False
            # weights_only loads tensors and plain containers and runs no code.
            state = torch.load(self.path, weights_only=True, map_location="cpu")
        except FileNotFoundError:  # perhaps another process of this training set it aside just now
            return False
        try:
            module.load_resume_state(state)
        except MISFITS as error:
            reason = one_line(str(error), 200)
            raise ValueError(
                f"{self.path}: of another training ({reason}); it is now {self._set_aside()}: start again"
            ) from error
        return True

    def _set_aside(self) -> str:
        aside = self.path.with_suffix(DAMAGED)
        with suppress(FileNotFoundError):  # each process of a training comes here
            self.path.replace(aside)
        return aside.name


def _write(state: dict[str, Any], path: Path) -> None:
    """Write a state and its digest, and wait for the disk."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        if "unexpected pos" not in str(error):  # what torch says of a full disk
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, DIGEST).digest()
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_whole(path: Path) -> bool:
    """Whether the digest at the end of a file is that of what stands before it."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - DIGEST_BYTES
        return size > 0 and _digest_of(file, size) == file.read()


def _digest_of(file: IO[bytes], size: int) -> bytes:
    digest = hashlib.new(DIGEST)
    while size > 0:
        size -= len(chunk := file.read(min(size, 1 << 20)))
        digest.update(chunk)
    return digest.digest()
