"""The Lightning module that trains a world model. The model itself is plain torch.

One Lightning step runs a chunk of gradient steps, which keeps Lightning's overhead small. The generators of an epoch
are seeded by its number and are the same on every rank; each rank takes its share of the rows.
"""

import math
import time
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader

from pipeline.networks.schedule import follow_cosine
from pipeline.seeding import generator
from pipeline.training.config import FitConfig
from pipeline.training.trainer import chunk_loader
from pipeline.types import Shard
from pipeline.world_models.best_weights import BestWeights
from pipeline.world_models.protocols import Batch, TrainableWorldModel

CHUNK = 50  # gradient steps in one Lightning step


class Batches(Protocol):
    """The batches of a world model, of the type that its loss takes."""

    steps_per_epoch: int  # gradient steps

    def to(self, device: torch.device) -> None:
        """Return batches on ``device`` from now on."""

    def train(self, epoch: int, chunk: int, steps: int, shard: Shard) -> Iterator[Batch]:
        """The rank's share of ``steps`` random training batches. They depend only on the numbers of epoch and chunk."""

    def held_out(self, shard: Shard) -> Iterator[Batch]:
        """The rank's share of the held-out batches, the same in every epoch."""

    def some_train(self) -> list[Batch]:
        """Training batches for :meth:`~pipeline.world_models.protocols.TrainableWorldModel.finalize`."""


class WorldModelTraining(LightningModule):
    """Fits a world model, keeps the best weights of each checkpoint group, and stops early when none improves."""

    def __init__(self, model: TrainableWorldModel, batches: Batches, config: FitConfig, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.batches = batches
        self.config = config
        self.seed = seed
        self.epochs_done = 0
        self.stale_epochs = 0  # epochs since the last improvement
        self.history: list[dict[str, Any]] = []
        self.start: dict[str, Any] | None = None  # held-out numbers before the first gradient step of a warm start
        self._optimizer_state: dict[str, Any] | None = None
        decay = config.learning_rate_decay
        self.decays: bool = model.decays_learning_rate if decay is None else decay
        self.best = BestWeights(model.checkpoint_groups, config.improvement)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """A new optimizer of the model."""
        return self.model.optimizer()

    def train_dataloader(self) -> DataLoader[int]:
        """The chunk numbers of one epoch."""
        return chunk_loader(math.ceil(self.batches.steps_per_epoch / CHUNK))

    def on_fit_start(self) -> None:
        """Move the data to the device and restore the optimizer of a resumed training."""
        self.batches.to(self.device)
        if self._optimizer_state is not None:
            self._raw_optimizer().load_state_dict(self._optimizer_state)
        if self.config.start_from is not None and self.epochs_done == 0:
            self._measure_start()

    def _measure_start(self) -> None:
        """Log the held-out numbers of the starting weights, and keep these until others are better."""
        held_out = self._held_out()
        self.best.update(held_out)
        self.start = self._held_out_row(held_out)
        if self.logger is not None:
            self.logger.log_metrics({f"world_model/start_{k}": v for k, v in _scalars(self.start).items()}, step=0)

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of this epoch."""
        self.started = time.perf_counter()
        self.sums: dict[str, Tensor] = {}
        if self.decays:
            rate = self.model.config.learning_rate
            follow_cosine(self._raw_optimizer(), rate, self.epochs_done, self.config.max_epochs)

    def training_step(self, chunk: int, batch_idx: int) -> None:
        """Run one chunk of at most ``CHUNK`` gradient steps."""
        chunk = int(chunk)
        steps = min(CHUNK, self.batches.steps_per_epoch - chunk * CHUNK)
        optimizer = self._raw_optimizer()
        noise = self._noise(chunk)
        for batch in self.batches.train(self.epochs_done, chunk, steps, self._shard):
            loss, metrics = self.model.loss(batch, noise, self._shard)
            optimizer.zero_grad(set_to_none=True)
            self.manual_backward(loss)
            if self.model.gradient_clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.model.gradient_clip)
            optimizer.step()
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.log("nll", metrics["nll"], prog_bar=True, logger=False)

    def _noise(self, chunk: int) -> Generator:
        return generator(self.seed, "world_model", "noise", self.epochs_done, chunk, device=self.device)

    @property
    def _shard(self) -> Shard:
        return Shard(self.global_rank, self.trainer.world_size)

    def on_train_epoch_end(self) -> None:
        """Evaluate on held-out batches, update the best weights, log, and decide whether to stop."""
        held_out = self._held_out()
        self.stale_epochs = 0 if self.best.update(held_out) else self.stale_epochs + 1
        self.epochs_done += 1
        row = self._row(held_out)
        self.history.append(row)
        self.log("held_out_nll", held_out["nll"].mean(), prog_bar=True, logger=False)
        if self.logger is not None:
            scalars = _scalars(row) | {"seconds": time.perf_counter() - self.started}
            self.logger.log_metrics({f"world_model/{k}": v for k, v in scalars.items()}, step=row["updates"])
        if self.finished:
            self.trainer.should_stop = True

    @property
    def finished(self) -> bool:
        """Whether training stops early or has reached ``max_epochs``."""
        return self.stale_epochs >= self.config.patience or self.epochs_done >= self.config.max_epochs

    @property
    def epochs_left(self) -> int:
        """0 once training is finished; otherwise the most epochs that may follow."""
        return 0 if self.finished else self.config.max_epochs - self.epochs_done

    def _held_out(self) -> dict[str, Tensor]:
        """Held-out metrics, equal on every rank because sums are reduced over all ranks before dividing."""
        batch_sums = [self.model.held_out(batch) for batch in self.batches.held_out(self._shard)]
        sums = {k: torch.stack([s[k] for s in batch_sums]).sum(0) for k in batch_sums[0]}
        sums = {k: self.trainer.strategy.reduce(v, reduce_op="sum") for k, v in sums.items()}
        count = sums.pop("count")
        return self.model.validation_metrics({k: v / count for k, v in sums.items()})

    def _row(self, held_out: dict[str, Tensor]) -> dict[str, Any]:
        """The metrics of one epoch; the metric that decides when to stop is a list with one value for each member."""
        steps = self.batches.steps_per_epoch
        row: dict[str, Any] = {"epoch": self.epochs_done, "updates": self.epochs_done * steps}
        row |= {f"train_{k}": float(v) / steps for k, v in self.sums.items()}
        return row | self._held_out_row(held_out)

    def _held_out_row(self, held_out: dict[str, Tensor]) -> dict[str, Any]:
        row: dict[str, Any] = {f"held_out_{k}": float(v.mean()) for k, v in held_out.items()}
        return row | {f"held_out_{self.best.decisive}": held_out[self.best.decisive].reshape(-1).tolist()}

    def _raw_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer without Lightning's wrapper, whose overhead matters at thousands of steps a second."""
        return self.trainer.optimizers[0]

    @torch.no_grad()
    def finish(self) -> TrainableWorldModel:
        """The model with the best weights of each checkpoint group, after its ``finalize``."""
        self.best.restore()
        self.batches.to(next(self.model.parameters()).device)
        self.model.finalize(self.best.scores, list(self.batches.held_out(Shard())), self.batches.some_train())
        return self.model

    def summary(self) -> dict[str, Any]:
        """The training history for the report; call after :meth:`finish`."""
        return {
            "epochs": self.history,
            "criterion": self.best.decisive,
            "best": self.best.scores[self.best.decisive].tolist(),
            "elites": self.model.elites.tolist(),
            "stopped": "early" if self.stale_epochs >= self.config.patience else "limit",
            "start": self.start,
        }

    # --- resume ---

    def resume_state(self) -> dict[str, Any]:
        """The state after the last epoch, as tensors and plain containers."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._raw_optimizer().state_dict(),
            "best": self.best.state(),
            "stale_epochs": self.stale_epochs,
            "epochs_done": self.epochs_done,
            "history": self.history,
            "start": self.start,
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`resume_state`; the optimizer follows when the fit starts."""
        self.model.load_state_dict(state["model"])
        self._optimizer_state = state["optimizer"]
        self.best.load_state(state["best"])
        for name in ("stale_epochs", "epochs_done", "history", "start"):
            setattr(self, name, state[name])


def _scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row; of a list, its mean."""
    return {k: sum(v) / len(v) if isinstance(v, list) else v for k, v in row.items()}
