"""One training from start to end: watched, logged and resumable. Both Lightning modules run through here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.loggers import Logger

from pipeline.training.config import TrainerConfig
from pipeline.training.progress import Progress
from pipeline.training.resume import Resumable, ResumePoint
from pipeline.training.trainer import make_trainer
from pipeline.training.watchdog import Watchdog


@dataclass(frozen=True)
class Session:
    """Where a training logs and from where it resumes. By default it prints, and shows progress."""

    resume_folder: Path | None = None  # holds the resume point; None: an interrupted training starts again
    logger: Logger | bool = False  # False: no logger
    say: Callable[[str], None] = print
    progress: bool = True
    before_save: Callable[[], None] = lambda: None  # called before each resume point is written


class Training(Resumable, Protocol):
    """A Lightning module that counts how many epochs are left."""

    @property
    def epochs_left(self) -> int:
        """0 once training is finished."""


def train(training: Training, config: TrainerConfig, session: Session, every: int = 1) -> None:
    """Train to the end, from the last resume point if there is one, and write a new one every ``every`` epochs.

    Raises ValueError when a loss is not finite, and for devices that this machine lacks.
    """
    assert isinstance(training, LightningModule)
    callbacks: list[Callback] = [Watchdog()]
    if session.resume_folder is not None:
        resume = ResumePoint(session.resume_folder, every, session.before_save)
        if resume.load_into(training, session.say):
            session.say(f"resuming after epoch {training.epochs_done}")
        callbacks.append(resume)
    if session.progress:
        callbacks.append(Progress())
    if training.epochs_left > 0:
        make_trainer(config, training.epochs_left, callbacks, session.logger).fit(training)
