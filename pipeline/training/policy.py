"""Learning a policy: a thin Lightning shell. The learner itself is plain torch.

One Lightning epoch is the stretch between two refreshes of imagination; it draws from generators seeded by its number,
so an epoch resumed is the epoch that would have been.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pipeline.imagination import Imagination
from pipeline.policies.protocols import PolicyLearner
from pipeline.seeding import generator
from pipeline.training.replay_buffer import LoggedReplay
from pipeline.training.trainer import numbers
from pipeline.types import Metrics

CHUNK = 100  # updates in one Lightning step
WATCHED = {"critic_loss", "q_mean", "bc_loss"}  # shown in the progress bar, and stopped at when not finite


class PolicyTraining(LightningModule):
    """Runs ``learner.config.updates`` updates on what ``replay`` offers. ``monitor`` looks at the policy in the real
    environment now and then; nothing is ever chosen by what it sees."""

    def __init__(
        self,
        learner: PolicyLearner,
        replay: LoggedReplay,
        imagination: Imagination | None,
        updates_per_epoch: int,
        seed: int,
        place: str,
        monitor: Callable[[int], Metrics] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        assert isinstance(learner, nn.Module)  # Lightning moves it to the device as a submodule
        self.learner: PolicyLearner = learner
        self.replay, self.imagination = replay, imagination
        self.seed, self.place, self.monitor = seed, place, monitor
        self.updates, self.batch_size = learner.config.updates, learner.config.batch_size
        self.updates_per_epoch = min(updates_per_epoch, self.updates)
        self.epochs = math.ceil(self.updates / self.updates_per_epoch)
        self.epochs_done = 0
        self.history: list[dict[str, Any]] = []
        self._optimizer_states: list[dict[str, Any]] = []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self.learner.optimizers()

    def train_dataloader(self) -> DataLoader:
        return numbers(math.ceil(self.updates_per_epoch / CHUNK))

    def on_fit_start(self) -> None:
        self.replay.to(self.device)
        if self.imagination is not None:
            self.imagination.to(self.device)
        for optimizer, state in zip(self.trainer.optimizers, self._optimizer_states, strict=False):
            optimizer.load_state_dict(state)

    def on_train_epoch_start(self) -> None:
        self.started = time.perf_counter()
        self.metrics: Metrics = self.replay.refresh(self.learner, self._generator("refresh"))
        self.refresh_seconds = time.perf_counter() - self.started
        self.sums: dict[str, Tensor] = {}

    def training_step(self, chunk: int, batch_idx: int) -> None:
        done = self.epochs_done * self.updates_per_epoch + int(chunk) * CHUNK
        left = min(CHUNK, self.updates_per_epoch - int(chunk) * CHUNK, self.updates - done)
        if left <= 0:  # the last epoch may be shorter
            return
        draws = self._generator("update", int(chunk))
        for batch in self.replay.batches(left, self.batch_size, draws):
            metrics = self.learner.update(batch, self.imagination, draws)
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        for name in self.sums.keys() & WATCHED:
            self.log(name, metrics[name], prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        first = self.epochs_done * self.updates_per_epoch
        count = min(self.updates_per_epoch, self.updates - first)
        self.epochs_done += 1
        self.metrics |= {k: float(v) / count for k, v in self.sums.items()}
        seconds = {"seconds": time.perf_counter() - self.started, "refresh_seconds": self.refresh_seconds}
        if self.monitor is not None:
            self.metrics |= self.monitor(first + count)
        # Times go to the tracker only: what a stage writes must not change from run to run.
        self.history.append({"update": first + count, **self.metrics})
        if self.logger is not None:
            tracked = {**self.metrics, **seconds}
            self.logger.log_metrics({f"{self.place}/{k}": v for k, v in tracked.items()}, step=first + count)

    def _generator(self, *place: str | int) -> torch.Generator:
        return generator(self.seed, self.place, self.epochs_done, *place, device=self.device)

    # --- resume ---

    def resume_state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "optimizers": [o.state_dict() for o in self.trainer.optimizers],
            "updates_done": self.learner.updates_done,
            "replay": self.replay.state(),
            "epochs_done": self.epochs_done,
            "history": self.history,
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        self.learner.updates_done = state["updates_done"]
        self._optimizer_states = state["optimizers"]
        self.replay.load_state(state["replay"])
        self.epochs_done, self.history = state["epochs_done"], state["history"]
