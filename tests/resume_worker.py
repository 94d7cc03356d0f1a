"""Small trainings of each kind. As a script, it trains one and kills itself with SIGKILL in the middle of an epoch or
of a write: `python resume_worker.py NAME FOLDER epoch|write`."""

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from toys import linear_world, rssm_training, small_ensemble, training_of, transitions_of

from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies.actor_critic import ActorCritic, ActorCriticConfig
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.training.resume import ResumePoint
from pipeline.training.trainer import make_trainer, set_up_torch
from pipeline.training.world_model import WorldModelTraining
from pipeline.uncertainty import Penalty

TRAINER = TrainerConfig(accelerator="cpu", threads=1)
EPOCHS = 4
KILLED_IN = 3  # the epoch in which, or the resume point during whose writing, the process is killed


def build(name: str, weights: int = 0) -> WorldModelTraining | PolicyTraining:
    """A new training; ``weights`` seeds the initial weights."""
    if name == "rssm":  # more than one chunk of steps, so that an epoch has a middle
        fit = FitConfig(batch_size=16, window=4, max_epochs=EPOCHS, patience=EPOCHS)
        return _perturb_weights(rssm_training(80, fit), weights)
    raw = linear_world(2600)
    model = small_ensemble(raw, width=16)
    data = transitions_of(raw, model.encoder)
    torch.manual_seed(weights)
    if name == "world_model":
        fit = FitConfig(batch_size=32, max_epochs=EPOCHS)
        return _perturb_weights(training_of(model, data[:2400], data[2400:], fit), weights)
    if name == "bc":
        learner = BehaviorCloning(BCConfig(updates=150 * EPOCHS, batch_size=32, hidden=[16]), LearnerSpec(3, 2))
        return PolicyTraining(learner, LoggedReplay(data), None, 150, 0, "bc")
    imagination = Imagination(model, Penalty("ensemble_std"))
    if name == "actor_critic":
        settings = ActorCriticConfig(updates=150 * EPOCHS, batch_size=8, hidden=[16], horizon=2)
        return PolicyTraining(
            ActorCritic(settings, LearnerSpec(3, 2)), LoggedReplay(data), imagination, 150, 0, "policy"
        )
    replay = MixedReplay(data, imagination, RolloutSpec(length=3, starts=100, retain=2))
    sac = SAC(SACConfig(updates=150 * EPOCHS, batch_size=32, hidden=[16]), LearnerSpec(3, 2, penalty_weight=0.5))
    return PolicyTraining(sac, replay, imagination, 150, 0, "policy")


def _perturb_weights(training: WorldModelTraining, weights: int) -> WorldModelTraining:
    torch.manual_seed(weights)
    for parameter in training.model.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    return training


def train(training: WorldModelTraining | PolicyTraining, callbacks: list[Callback]) -> dict[str, Any]:
    """Train to the end; returns the whole final state, the best weights of every member included."""
    set_up_torch(TRAINER)
    make_trainer(TRAINER, EPOCHS - training.epochs_done, callbacks).fit(training)
    return training.resume_state()


class KillInEpoch(Callback):
    """Kills the process between two Lightning steps of one epoch."""

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: WorldModelTraining | PolicyTraining,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Kill after the first step of epoch ``KILLED_IN``."""
        if module.epochs_done == KILLED_IN - 1 and batch_idx == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_in_write() -> None:
    """Patch torch.save so that the process is killed with half of the third resume point on disk."""
    save = torch.save
    saves: list[Path] = []

    def save_half(state: object, path: Path) -> None:
        saves.append(path)
        if len(saves) < KILLED_IN:
            save(state, path)
            return
        save(state, buffer := io.BytesIO())
        path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half


if __name__ == "__main__":
    name, folder, moment = sys.argv[1:]
    if moment == "write":
        kill_in_write()
    train(build(name), [ResumePoint(Path(folder)), *([KillInEpoch()] if moment == "epoch" else [])])
