"""The overhead of the Lightning modules: the same gradient steps in a Lightning module and in a bare loop."""

import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from pipeline.bench.cases import descend
from pipeline.bench.timing import REPEATS, wait
from pipeline.bench.world import World
from pipeline.data.batches import Bootstrap
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.policy import CHUNK, PolicyTraining
from pipeline.training.replay_buffer import LoggedReplay
from pipeline.training.trainer import make_trainer
from pipeline.training.world_model import WorldModelTraining
from pipeline.types import Transitions


@dataclass(frozen=True)
class Overhead:
    """Seconds are medians; a shell is a Lightning module. ``share`` is (shell - bare) / shell. The start-up happens
    once in a stage and is not part of it."""

    shell: str
    device: str
    steps: int
    shell_seconds: float
    bare_seconds: float
    share: float
    start_up_seconds: float


class Stopwatch(Callback):
    """Measures the seconds of the training loop, epoch ends included."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        wait(self.device)
        self.started = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        wait(self.device)
        self.seconds = time.perf_counter() - self.started


def overheads(world: World) -> list[dict[str, Any]]:
    """The fields of :class:`Overhead` for both Lightning modules."""
    return [
        asdict(
            _overhead("WorldModelTraining", world, lambda: _world_model_shell(world), lambda: _bare_ensemble(world))
        ),
        asdict(_overhead("PolicyTraining", world, lambda: _policy_shell(world), lambda: _bare_learner(world))),
    ]


def _overhead(name: str, world: World, shell: Callable[[], LightningModule], bare: Callable[[], float]) -> Overhead:
    shell_repeats, start_up_repeats, bare_repeats = [], [], []
    for _ in range(REPEATS):
        shell_seconds, start_up = _fit(shell(), world)
        shell_repeats.append(shell_seconds)
        start_up_repeats.append(start_up)
        bare_repeats.append(bare())
    shell_median = statistics.median(shell_repeats)
    bare_median = statistics.median(bare_repeats)
    return Overhead(
        shell=name,
        device=world.device.type,
        steps=world.config.shell_steps,
        shell_seconds=shell_median,
        bare_seconds=bare_median,
        share=(shell_median - bare_median) / shell_median,
        start_up_seconds=statistics.median(start_up_repeats),
    )


def _fit(module: LightningModule, world: World) -> tuple[float, float]:
    """Seconds in the training loop, and seconds before and after it."""
    watch = Stopwatch(world.device)
    accelerator = "gpu" if world.device.type == "cuda" else "cpu"
    config = TrainerConfig(accelerator=accelerator, threads=world.config.threads)
    with _quiet():
        trainer = make_trainer(config, 1, [watch])
        start = time.perf_counter()
        trainer.fit(module)
    return watch.seconds, time.perf_counter() - start - watch.seconds


def _world_model_shell(world: World) -> WorldModelTraining:
    c = world.config
    batches = Bootstrap(_rows_for(world), world.held_out[: c.batch], c.members, c.batch, 0)
    return WorldModelTraining(world.ensemble(), batches, FitConfig(batch_size=c.batch, max_epochs=1), 0)


def _rows_for(world: World) -> Transitions:
    """The transitions of one epoch of ``shell_steps`` batches; rows repeat if the world has fewer."""
    count = world.config.shell_steps * world.config.batch
    return world.train[torch.arange(count, device=world.device) % len(world.train)]


def _bare_ensemble(world: World) -> float:
    model = world.ensemble()
    rows = iter(world.rows(world.config.shell_steps))
    step = descend(lambda: model.loss(world.train[next(rows)])[0], model.optimizer())
    wait(world.device)
    start = time.perf_counter()
    for _ in range(world.config.shell_steps):
        step()
    wait(world.device)
    return time.perf_counter() - start


def _policy_shell(world: World) -> PolicyTraining:
    steps = world.config.shell_steps
    return PolicyTraining(world.learner(steps), LoggedReplay(world.train), None, steps, 0, "bench")


def _bare_learner(world: World) -> float:
    c = world.config
    learner = world.learner()
    replay = LoggedReplay(world.train)
    draws = world.generator("bare")
    wait(world.device)
    start = time.perf_counter()
    for first in range(0, c.shell_steps, CHUNK):
        for batch in replay.batches(min(CHUNK, c.shell_steps - first), c.batch, draws):
            learner.update(batch, None, draws)
    wait(world.device)
    return time.perf_counter() - start


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's messages about devices and workers."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
