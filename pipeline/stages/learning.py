"""How both policy stages learn: on one device, watched and tracked, and on from where an earlier try was cut off."""

from pipeline.tracking.lightning_logger import logger_for
from pipeline.tracking.run import StageRun
from pipeline.training.policy import PolicyTraining
from pipeline.training.resume import ResumePoint
from pipeline.training.trainer import TrainerConfig, make_trainer, single
from pipeline.training.watchdog import Watchdog


def learn(run: StageRun, training: PolicyTraining, config: TrainerConfig, every: int = 1) -> None:
    """Train to the end, with a resume point every ``every`` epochs."""
    resume = ResumePoint(run.work, every)
    if resume.load_into(training):
        run.print(f"going on after update {training.history[-1]['update']}")
    left = training.epochs - training.epochs_done
    make_trainer(single(config), left, [Watchdog(), resume], logger_for(run)).fit(training)
