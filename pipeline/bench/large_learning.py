"""``python -m pipeline.bench.large_learning``: learning from a log larger than memory.

Ingests a made-up log of 50 million steps, then runs a few hundred updates of a world model, of behavior cloning and of
SAC, and estimates the policy's value offline. Prints the time and the peak of anonymous memory of each part, as
:mod:`pipeline.bench.large_ingest` does.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from pipeline.bench.large_ingest import episodes
from pipeline.bench.memory import AnonymousPeak
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import LoggedData
from pipeline.data.transitions import build_data_spec
from pipeline.imagination import RolloutSpec
from pipeline.ingest.writer import write_dataset
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluator import PolicyEvaluator
from pipeline.policies.bc import BCConfig
from pipeline.policies.sac import SACConfig
from pipeline.seeding import generator
from pipeline.serving.agent import PolicyAgent
from pipeline.training.baseline import learn_baseline
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.fit_world_model import batches_for
from pipeline.training.learn_policy import learn_policy
from pipeline.training.session import Session
from pipeline.training.trainer import seed_torch
from pipeline.types import Shard
from pipeline.uncertainty import PenaltySpec
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

OBS, ACTION, STEPS = 11, 3, 1000  # the shapes of Hopper
CHUNK = 50  # gradient steps drawn at once
QUIET = Session(say=lambda text: None, progress=False)


def measure(transitions: int, updates: int, scratch: Path | None) -> dict[str, Any]:
    """Seconds, processor seconds and peak anonymous memory of each part, with ``updates`` updates of each learner."""
    torch.set_num_threads(1)
    trainer = TrainerConfig()
    report: dict[str, Any] = {"transitions": transitions, "updates": updates}
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        with _part("ingest", report):
            dataset = _dataset(Path(folder) / "dataset", transitions // STEPS)
        report["gigabytes"] = sum(file.stat().st_size for file in (Path(folder) / "dataset").iterdir()) / 1e9
        with _part("statistics", report):
            facts = build_data_spec(dataset)
        with _part("world model", report):
            seed_torch(0, "bench", "weights")
            model = GaussianEnsemble(EnsembleConfig(), facts)
            _fit(model, dataset, updates)
        with _part("behavior cloning", report):
            learn_baseline("bc", BCConfig(updates=updates), dataset, trainer, 0, QUIET)
        model.eval().requires_grad_(False)
        penalty, rollout = PenaltySpec("ensemble_std"), RolloutSpec(refresh_every=100)
        with _part("sac", report):
            learned = learn_policy(
                "sac", SACConfig(updates=updates), model, dataset, penalty, rollout, trainer, 0, QUIET
            )
        with _part("offline evaluation", report):
            agent = cast(PolicyAgent, SimpleNamespace(policy=learned.policy, encoder=learned.encoder))
            PolicyEvaluator(dataset, model, OfflineConfig(updates=updates, horizon=50), 0)(agent)
    return report


@contextmanager
def _part(name: str, report: dict[str, Any]) -> Iterator[None]:
    start, processor_start = time.perf_counter(), time.process_time()
    with AnonymousPeak() as memory:
        yield
    report[name] = {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - processor_start, 1),
        "anonymous_mib_peak": memory.mib,
    }
    print(name, report[name], flush=True)


def _dataset(folder: Path, count: int) -> PreparedDataset:
    log = LoggedData("made up", "callable", episodes(count, STEPS, OBS, ACTION), action_low=[-1.0] * ACTION,
                     action_high=[1.0] * ACTION)  # fmt: skip
    return write_dataset(folder, log, "large", 0.1, 0)


def _fit(model: GaussianEnsemble, dataset: PreparedDataset, updates: int) -> None:
    """``updates`` gradient steps and one evaluation on held-out steps."""
    batches = batches_for(model, dataset, FitConfig(), seed=0)
    optimizer, noise = model.optimizer(), generator(0, "bench", "noise")
    for chunk in range(updates // CHUNK):
        for batch in batches.train(0, chunk, CHUNK, Shard()):
            loss, _ = model.loss(batch, noise)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for batch in batches.held_out(Shard()):
            model.held_out(batch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transitions", type=int, default=50_000_000, help="steps of the log")
    parser.add_argument("--updates", type=int, default=300, help="updates of each learner")
    parser.add_argument("--scratch", type=Path, help="folder on a file system with 60 bytes a step free")
    arguments = parser.parse_args()
    print(measure(arguments.transitions, arguments.updates, arguments.scratch))
