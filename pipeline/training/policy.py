"""The Lightning module that trains a policy. The learner itself is plain torch.

One Lightning epoch lasts from one refresh of imagination to the next. Its generators are seeded by its number, so a
resumed training repeats the epochs of an uninterrupted one.
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
from pipeline.training.trainer import chunk_loader
from pipeline.types import Metrics

CHUNK = 100  # updates in one Lightning step
Monitor = Callable[[int], Metrics]  # called with the number of updates done
WATCHED = {"critic_loss", "q_mean", "bc_loss"}  # in the progress bar; training stops when they are not finite


class PolicyTraining(LightningModule):
    """Runs ``learner.config.updates`` updates on batches of ``replay``.

    ``place`` prefixes the tracked metrics and seeds the generators. ``monitor`` gets the number of updates at the end
    of each epoch and returns metrics of episodes in the real environment; they never influence the training.
    """

    def __init__(
        self,
        learner: PolicyLearner,
        replay: LoggedReplay,
        imagination: Imagination | None,
        updates_per_epoch: int,
        seed: int,
        place: str,
        monitor: Monitor | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        assert isinstance(learner, nn.Module)  # Lightning moves it to the device as a submodule
        self.learner: PolicyLearner = learner
        self.replay = replay
        self.imagination = imagination
        self.seed = seed
        self.place = place
        self.monitor = monitor
        self.updates = learner.config.updates
        self.batch_size = learner.config.batch_size
        self.updates_per_epoch = min(updates_per_epoch, self.updates)
        self.epochs = math.ceil(self.updates / self.updates_per_epoch)
        self.epochs_done = 0
        self.history: list[dict[str, Any]] = []
        self._optimizer_states: list[dict[str, Any]] = []

    @property
    def epochs_left(self) -> int:
        """0 once all updates are done."""
        return self.epochs - self.epochs_done

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The learner's optimizers; its ``update`` steps them."""
        return self.learner.optimizers()

    def train_dataloader(self) -> DataLoader[int]:
        """The chunk numbers of one epoch."""
        return chunk_loader(math.ceil(self.updates_per_epoch / CHUNK))

    def on_fit_start(self) -> None:
        """Move data and imagination to the device and restore the optimizers of a resumed training."""
        self.replay.to(self.device)
        if self.imagination is not None:
            self.imagination.to(self.device)
        for optimizer, state in zip(self.trainer.optimizers, self._optimizer_states, strict=False):
            optimizer.load_state_dict(state)

    def on_train_epoch_start(self) -> None:
        """Refresh imagination with the current policy."""
        self.started = time.perf_counter()
        self.metrics: Metrics = self.replay.refresh(self.learner, self._generator("refresh"))
        self.refresh_seconds = time.perf_counter() - self.started
        self.sums: dict[str, Tensor] = {}

    def training_step(self, chunk: int, batch_idx: int) -> None:
        """Run one chunk of at most ``CHUNK`` updates."""
        done = self.epochs_done * self.updates_per_epoch + int(chunk) * CHUNK
        count = min(CHUNK, self.updates_per_epoch - int(chunk) * CHUNK, self.updates - done)
        if count <= 0:  # the last epoch may be shorter
            return
        draws = self._generator("update", int(chunk))
        for batch in self.replay.batches(count, self.batch_size, draws):
            metrics = self.learner.update(batch, self.imagination, draws)
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        for name in self.sums.keys() & WATCHED:
            self.log(name, metrics[name], prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        """Add the epoch's mean metrics to the history and log them."""
        first = self.epochs_done * self.updates_per_epoch
        count = min(self.updates_per_epoch, self.updates - first)
        self.epochs_done += 1
        self.metrics |= {k: float(v) / count for k, v in self.sums.items()}
        seconds = {"seconds": time.perf_counter() - self.started, "refresh_seconds": self.refresh_seconds}
        if self.monitor is not None:
            self.metrics |= self.monitor(first + count)
        # Times go to the tracker only, because the files that a stage writes must be reproducible.
        self.history.append({"update": first + count, **self.metrics})
        if self.logger is not None:
            tracked = {**self.metrics, **seconds}
            self.logger.log_metrics({f"{self.place}/{k}": v for k, v in tracked.items()}, step=first + count)

    def _generator(self, *place: str | int) -> torch.Generator:
        return generator(self.seed, self.place, self.epochs_done, *place, device=self.device)

    # --- resume ---

    def resume_state(self) -> dict[str, Any]:
        """The state after the last epoch, as tensors and plain containers."""
        return {
            "learner": self.learner.state_dict(),
            "optimizers": [o.state_dict() for o in self.trainer.optimizers],
            "updates_done": self.learner.updates_done,
            "replay": self.replay.state(),
            "epochs_done": self.epochs_done,
            "history": self.history,
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`resume_state`; optimizers follow when the fit starts."""
        self.learner.load_state_dict(state["learner"])
        self.learner.updates_done = state["updates_done"]
        self._optimizer_states = state["optimizers"]
        self.replay.load_state(state["replay"])
        self.epochs_done = state["epochs_done"]
        self.history = state["history"]
