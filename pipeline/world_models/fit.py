"""Training a world model: a thin Lightning shell. The model itself is plain torch.

One Lightning step runs a chunk of gradient steps, so that bookkeeping is a small share of the time. Each epoch draws
from generators seeded by its number, the same on every rank; a rank then takes its share of the rows.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from pipeline.randomness import generator
from pipeline.training import numbers
from pipeline.types import Transitions
from pipeline.world_models.gaussian_ensemble import GaussianEnsemble
from pipeline.world_models.termination import LearnedTermination

CHUNK = 50  # gradient steps in one Lightning step


@dataclass(frozen=True)
class FitConfig:
    batch_size: int = 256  # rows of each member in one step, over all ranks together
    max_epochs: int = 40
    patience: int = 5  # epochs without any member improving its held-out error by `improvement`
    improvement: float = 0.01
    held_out_rows: int = 20_000  # at most so many held-out transitions are used for stopping

    def __post_init__(self) -> None:
        if min(self.batch_size, self.max_epochs, self.patience) < 1:
            raise ValueError("batch_size, max_epochs and patience must be at least 1")


class WorldModelTraining(LightningModule):
    """Fits an ensemble on bootstrap samples, keeps each member's best weights, stops when no member improves."""

    def __init__(
        self, model: GaussianEnsemble, train: Transitions, held_out: Transitions, config: FitConfig, seed: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.config, self.seed = model, config, seed
        self.train_data, self.held_out_data = train, held_out[: config.held_out_rows]
        self.members = model.config.members
        self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.epochs_done, self.stale_epochs = 0, 0
        self.history: list[dict[str, Any]] = []
        self.best_mse = torch.full((self.members,), float("inf"))
        self.best = {k: p.detach().clone() for k, p in model.member_parameters().items()}
        self.best_termination, self.best_ends = _copy(model.termination), float("inf")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.model.optimizer()

    def train_dataloader(self) -> DataLoader:
        return numbers(math.ceil(self.steps_per_epoch / CHUNK))

    def on_fit_start(self) -> None:
        """Move the data to the device once; draw the bootstrap samples, the same on every rank."""
        self.train_data = self.train_data.to(self.device)
        self.held_out_data = self.held_out_data.to(self.device)
        rows, draws = len(self.train_data), generator(self.seed, "world_model", "bootstrap")
        self.bootstrap = torch.randint(rows, (self.members, rows), generator=draws).to(self.device)
        if (state := getattr(self, "_optimizer_state", None)) is not None:
            self._raw_optimizer().load_state_dict(state)

    def on_train_epoch_start(self) -> None:
        self.started = time.perf_counter()
        self.sums: dict[str, Tensor] = {}

    def training_step(self, chunk: int, batch_idx: int) -> None:
        first = int(chunk) * CHUNK
        steps = min(CHUNK, self.steps_per_epoch - first)
        optimizer = self._raw_optimizer()
        for rows in self._draw_rows(int(chunk), steps):
            loss, metrics = self.model.loss(self.train_data[rows])
            optimizer.zero_grad(set_to_none=True)
            self.manual_backward(loss)
            optimizer.step()
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.log("nll", metrics["nll"], prog_bar=True, logger=False)

    def _draw_rows(self, chunk: int, steps: int) -> Tensor:
        """Bootstrap rows of this rank, "steps M B/ranks". All ranks draw the global batch; each takes every nth row."""
        draws = generator(self.seed, "world_model", "batch", self.epochs_done, chunk, device=self.device)
        shape = (self.members, steps * self.config.batch_size)
        picks = torch.randint(len(self.train_data), shape, generator=draws, device=self.device)
        rows = self.bootstrap.gather(1, picks).unflatten(1, (steps, self.config.batch_size)).transpose(0, 1)
        return rows[:, :, self.global_rank :: self.trainer.world_size]

    def on_train_epoch_end(self) -> None:
        held_out = self._held_out()
        improved = self._keep_best(held_out)
        self.stale_epochs = 0 if improved else self.stale_epochs + 1
        self.epochs_done += 1
        row = self._row(held_out)
        self.history.append(row)
        self.log("held_out_mse", held_out["mse"].mean(), prog_bar=True, logger=False)
        if self.logger is not None:
            scalars = {k: v for k, v in row.items() if isinstance(v, float)}
            scalars |= {"held_out_mse": float(held_out["mse"].mean()), "seconds": time.perf_counter() - self.started}
            self.logger.log_metrics({f"world_model/{k}": v for k, v in scalars.items()}, step=row["updates"])
        if self.finished:
            self.trainer.should_stop = True

    @property
    def finished(self) -> bool:
        return self.stale_epochs >= self.config.patience or self.epochs_done >= self.config.max_epochs

    def _held_out(self) -> dict[str, Tensor]:
        """Held-out means, the same on every rank: sums of each rank's rows are added up first."""
        shard = self.held_out_data[self.global_rank :: self.trainer.world_size]
        parts = [self.model.held_out(shard[i : i + 2048]) for i in range(0, len(shard), 2048)]
        sums = {k: torch.stack([p[k] for p in parts]).sum(0) for k in parts[0]}
        sums = {k: self.trainer.strategy.reduce(v, reduce_op="sum") for k, v in sums.items()}
        count = sums.pop("count")
        return {k: v / count for k, v in sums.items()}  # type: ignore[operator]

    def _keep_best(self, held_out: dict[str, Tensor]) -> bool:
        mse = held_out["mse"].cpu()
        better = mse < self.best_mse * (1 - self.config.improvement)
        for name, parameter in self.model.member_parameters().items():
            keep = better.to(parameter.device)
            self.best[name] = self.best[name].to(parameter.device)
            self.best[name][keep] = parameter.detach()[keep]
        self.best_mse = torch.where(better, mse, self.best_mse)
        if float(held_out.get("termination_loss", torch.inf)) < self.best_ends:
            self.best_ends, self.best_termination = float(held_out["termination_loss"]), _copy(self.model.termination)
        return bool(better.any())

    def _row(self, held_out: dict[str, Tensor]) -> dict[str, Any]:
        row: dict[str, Any] = {"epoch": self.epochs_done, "updates": self.epochs_done * self.steps_per_epoch}
        row |= {f"train_{k}": float(v) / self.steps_per_epoch for k, v in self.sums.items()}
        row |= {f"held_out_{k}": float(v.mean()) for k, v in held_out.items() if k != "mse"}
        return row | {"held_out_mse": held_out["mse"].tolist()}

    def _raw_optimizer(self) -> torch.optim.Optimizer:
        """Without Lightning's wrapper, whose bookkeeping counts at thousands of steps a second."""
        return self.trainer.optimizers[0]

    @torch.no_grad()
    def finish(self) -> GaussianEnsemble:
        """The model with every member's best weights, its elites chosen and its termination head calibrated.

        Elites by held-out error: training error prefers the member that overfits.
        """
        for name, parameter in self.model.member_parameters().items():
            parameter.copy_(self.best[name])
        self.model.elites.copy_(self.best_mse.argsort()[: self.model.config.elites])
        if isinstance(head := self.model.termination, LearnedTermination):
            head.load_state_dict(self.best_termination)
            data = self.held_out_data if self.held_out_data.terminal.any() else self.train_data
            head.calibrate(data.state, data.action, data.next_state, data.terminal)
        return self.model

    def summary(self) -> dict[str, Any]:
        """What the report shows of the training; call after :meth:`finish`."""
        last = self.history[-1]
        return {
            "epochs": self.history,
            "elites": self.model.elites.tolist(),
            "best_held_out_mse": self.best_mse.tolist(),
            "bounds": {"low_share": last["held_out_low_share"], "high_share": last["held_out_high_share"]},
            "stopped": "early" if self.stale_epochs >= self.config.patience else "limit",
        }

    # --- resume ---

    def resume_state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self._raw_optimizer().state_dict(),
            "best": self.best,
            "best_mse": self.best_mse,
            "best_termination": self.best_termination,
            "best_ends": self.best_ends,
            "stale_epochs": self.stale_epochs,
            "epochs_done": self.epochs_done,
            "history": self.history,
        }

    def load_resume_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer_state = state["optimizer"]
        for name in ("best", "best_mse", "best_termination", "best_ends", "stale_epochs", "epochs_done", "history"):
            setattr(self, name, state[name])


def _copy(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}
