"""What both Lightning modules share: the Trainer, torch settings, and the end of orphaned ranks."""

import os
import threading
import time
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.seeding import seed_of
from pipeline.training.config import TrainerConfig
from pipeline.training.precision import resolve_precision

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger

LAUNCHER = "PIPELINE_LAUNCHER_PID"  # environment variable with the process id of rank 0, for the ranks it starts


def set_up_torch(config: TrainerConfig) -> None:
    """Set the number of threads and the matmul precision, on which results depend. Call it before making tensors."""
    torch.set_num_threads(config.threads)
    # Without this, Lightning divides the cores among the ranks.
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    torch.set_float32_matmul_precision(resolve_precision(config.matmul_precision, config.accelerator))
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        _die_with_parent()
    else:
        os.environ[LAUNCHER] = str(os.getpid())


def seed_torch(seed: int, *place: str | int) -> None:
    """Seed torch's global generator, which draws initial weights. All later draws use separate generators."""
    torch.manual_seed(seed_of(seed, *place))


def make_trainer(
    config: TrainerConfig,
    epochs: int,
    callbacks: "list[Callback]",
    logger: "Logger | bool | None" = False,
) -> "Trainer":
    """A Trainer without Lightning's checkpoints, validation, samplers and progress bar: the two modules do these
    themselves.

    Raises ValueError if ``config`` does not fit this machine, for example if a device is missing.
    """
    from lightning.pytorch import Trainer  # takes seconds, and most stages train nothing
    from lightning.pytorch.callbacks import Checkpoint
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

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
            enable_progress_bar=False,
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
