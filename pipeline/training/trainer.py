"""What both Lightning shells share: the Trainer, and the fate of orphaned ranks."""

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from pipeline.seeding import seed_of

LAUNCHER = "PIPELINE_LAUNCHER_PID"  # rank 0, for the ranks that Lightning starts from it


@dataclass(frozen=True)
class TrainerConfig:
    accelerator: str = "auto"  # cpu, gpu, mps, auto
    devices: int = 1
    num_nodes: int = 1  # more than one: start the stage under torchrun or srun
    strategy: str = "auto"  # ddp when devices * num_nodes > 1
    precision: str = "32-true"  # 32-true, bf16-mixed, ...
    matmul_precision: str = "highest"  # torch.set_float32_matmul_precision: highest, high, medium
    threads: int = 2  # torch threads of one process; fixed, because sums depend on it

    def __post_init__(self) -> None:
        if self.matmul_precision not in ("highest", "high", "medium"):
            raise ValueError(f"matmul_precision `{self.matmul_precision}` must be highest, high or medium")
        if min(self.devices, self.num_nodes, self.threads) < 1:
            raise ValueError("devices, num_nodes and threads must be at least 1")


def set_up_torch(config: TrainerConfig) -> None:
    """Fix what results depend on, before any tensor is made."""
    torch.set_num_threads(config.threads)
    # Lightning divides the cores among the ranks unless this is set.
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        _die_with_parent()
    else:
        os.environ[LAUNCHER] = str(os.getpid())


def single(config: TrainerConfig) -> TrainerConfig:
    """The same trainer on one device: policies are small, and learn faster on one than across several."""
    return replace(config, devices=1, num_nodes=1, strategy="auto")


def check_shares(config: TrainerConfig, batch_size: int, window: int = 1) -> None:
    """Raises ValueError unless every process gets as many rows of a global batch, or as many windows of ``window``
    steps: DDP takes the mean over processes, so the rows of a smaller share would count for more."""
    processes, shares = config.devices * config.num_nodes, max(batch_size // window, 1)
    if shares % processes:
        near = max(round(shares / processes), 1) * processes * window
        what = f"`fit.batch_size: {batch_size}`" + (f" of {shares} windows" if window > 1 else "")
        count = f"{processes} processes, trainer.devices {config.devices} times trainer.num_nodes {config.num_nodes}"
        raise ValueError(f"params.yaml: {what} cannot be shared by {count}; set it to {near}")


def seed_torch(seed: int, *place: str | int) -> None:
    """Seed the global generator that draws initial weights; everything later draws from generators of its own."""
    torch.manual_seed(seed_of(seed, *place))


def make_trainer(
    config: TrainerConfig, epochs: int, callbacks: list[Callback], logger: Any = False, progress: bool = True
) -> Trainer:
    """A Trainer that leaves checkpoints, validation and sampling to the two shells. Raises ValueError for devices that
    this machine lacks."""
    many = config.devices * config.num_nodes > 1
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy="ddp" if many and config.strategy == "auto" else config.strategy,
            precision=config.precision,  # type: ignore[arg-type]
            max_epochs=max(epochs, 0),
            callbacks=callbacks,
            logger=logger,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_model_summary=False,
            enable_progress_bar=progress,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )
    except (MisconfigurationException, ImportError, ValueError) as error:
        fix = "mend block `trainer`; `python -m pipeline doctor` lists the devices"
        raise ValueError(f"params.yaml: `trainer`: {' '.join(str(error).split())[:300]}; {fix}") from error


def numbers(count: int) -> DataLoader:
    """The batches Lightning iterates over: chunk numbers. Data lives on the device and is drawn there by index."""
    return DataLoader(range(count), batch_size=None)  # type: ignore[arg-type]


def _die_with_parent() -> None:
    """A rank whose launcher was killed would wait in a collective for ever: end it instead."""
    # The launcher's own word: it may have been killed while this rank was still importing.
    parent = int(os.environ.get(LAUNCHER, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
