"""What both Lightning modules share: the Trainer, torch settings, and the end of orphaned ranks."""

import os
import threading
import time
from dataclasses import dataclass, replace

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader, Dataset

from pipeline.seeding import seed_of

LAUNCHER = "PIPELINE_LAUNCHER_PID"  # environment variable with the process id of rank 0, for the ranks it starts


@dataclass(frozen=True)
class TrainerConfig:
    accelerator: str = "cpu"  # cpu, gpu, mps, auto
    devices: int = 1
    num_nodes: int = 1  # more than one: start the stage under torchrun or srun
    strategy: str = "auto"  # ddp when devices * num_nodes > 1
    precision: str = "32-true"  # 32-true, bf16-mixed, ...
    matmul_precision: str = "highest"  # torch.set_float32_matmul_precision: highest, high, medium
    threads: int = 1  # torch threads of one process; fixed, because sums depend on it

    def __post_init__(self) -> None:
        if self.matmul_precision not in ("highest", "high", "medium"):
            raise ValueError(f"matmul_precision `{self.matmul_precision}` must be highest, high or medium")
        if min(self.devices, self.num_nodes, self.threads) < 1:
            raise ValueError("devices, num_nodes and threads must be at least 1")


def set_up_torch(config: TrainerConfig) -> None:
    """Set the number of threads and the matmul precision, on which results depend. Call it before making tensors."""
    torch.set_num_threads(config.threads)
    # Without this, Lightning divides the cores among the ranks.
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        _die_with_parent()
    else:
        os.environ[LAUNCHER] = str(os.getpid())


def single(config: TrainerConfig) -> TrainerConfig:
    """The same trainer on one device: policies are small and train faster on one device than on several."""
    return replace(config, devices=1, num_nodes=1, strategy="auto")


def check_shares(config: TrainerConfig, batch_size: int, window: int = 1) -> None:
    """Check that a global batch of ``batch_size`` steps, in windows of ``window`` steps, divides evenly.

    Raises ValueError unless every process gets the same number of windows: DDP averages gradients over processes, so
    the rows of a smaller share would get more weight.
    """
    processes = config.devices * config.num_nodes
    windows = max(batch_size // window, 1)
    if windows % processes:
        nearest = max(round(windows / processes), 1) * processes * window
        setting = f"`fit.batch_size: {batch_size}`" + (f" of {windows} windows" if window > 1 else "")
        count = f"{processes} processes (trainer.devices {config.devices} x trainer.num_nodes {config.num_nodes})"
        raise ValueError(f"params.yaml: {setting} does not divide evenly among {count}; set it to {nearest}")


def seed_torch(seed: int, *place: str | int) -> None:
    """Seed torch's global generator, which draws initial weights. All later draws use separate generators."""
    torch.manual_seed(seed_of(seed, *place))


def make_trainer(
    config: TrainerConfig,
    epochs: int,
    callbacks: list[Callback],
    logger: Logger | bool | None = False,
    progress: bool = True,
) -> Trainer:
    """A Trainer without Lightning's checkpoints, validation and samplers, which the two modules do themselves.

    Raises ValueError if ``config`` does not fit this machine, for example if a device is missing.
    """
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
        fix = "change block `trainer`; `python -m pipeline doctor` lists the devices"
        raise ValueError(f"params.yaml: `trainer`: {' '.join(str(error).split())[:300]}; {fix}") from error


class _ChunkNumbers(Dataset[int]):
    """The numbers from 0 to ``count`` - 1."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


def chunk_loader(count: int) -> DataLoader[int]:
    """Chunk numbers, which Lightning iterates over as batches. The modules draw the data of a chunk by themselves."""
    return DataLoader(_ChunkNumbers(count), batch_size=None)


def _die_with_parent() -> None:
    """End this rank when its launcher ends; otherwise it would wait in a collective operation forever."""
    # The launcher may end while this rank is still importing, so getppid() alone could name another process.
    parent = int(os.environ.get(LAUNCHER, os.getppid()))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
