"""Speed and memory of reading batches for learners: from memory, and row by row from the dataset on disk."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.bench.large_ingest import episodes
from pipeline.bench.memory import AnonymousPeak
from pipeline.bench.timing import REPEATS
from pipeline.bench.world import BenchConfig
from pipeline.data.batches import Bootstrap
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import LoggedData
from pipeline.data.rows import first_rows, logged_rows
from pipeline.data.transitions import build_data_spec
from pipeline.encoders.history import vector_encoder
from pipeline.ingest.writer import write_dataset
from pipeline.seeding import generator
from pipeline.training.replay_buffer import LoggedReplay
from pipeline.types import Shard

STEPS = 1000  # of an episode
CHUNK = 50  # batches drawn at once
LIMITS = {"memory": float("inf"), "disk": 0.0}  # GiB of transitions that may be in memory


def reading_speed(config: BenchConfig) -> list[dict[str, Any]]:
    """For each place of the data: batches a second of a world model and of a policy, and the memory that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        count = max(2, config.ingest_rows // STEPS)
        log = LoggedData("made up", "callable", episodes(count, STEPS, config.obs, config.action))
        dataset = write_dataset(Path(folder) / "dataset", log, "bench", 0.1, 0)
        return [_read(config, dataset, place, limit) for place, limit in reversed(LIMITS.items())]


def _read(config: BenchConfig, dataset: PreparedDataset, place: str, limit: float) -> dict[str, Any]:
    start = time.perf_counter()
    with AnonymousPeak() as memory:
        facts = build_data_spec(dataset, limit)
        encoder = vector_encoder(0, facts.obs_shapes, facts.statistics, facts.action_dim)
        rows = logged_rows(dataset, "train", encoder, limit)
        batches = Bootstrap(rows, first_rows(rows, 1), config.members, config.batch, seed=0)
        replay, draws = LoggedReplay(rows), generator(0, "bench", "replay")
        prepared = time.perf_counter() - start
        rates = {
            "model_batches": _rate(lambda i: sum(len(b.state) > 0 for b in batches.train(0, i, CHUNK, Shard()))),
            "policy_batches": _rate(lambda i: sum(len(b) > 0 for b in replay.batches(CHUNK, config.batch, draws))),
        }
    anonymous = (memory.peak - memory.start) >> 20
    return {"from": place, "transitions": len(rows), "prepare_seconds": prepared, **rates, "anonymous_mib": anonymous}


def _rate(read: Callable[[int], int]) -> float:
    """Batches a second of processor time; ``read`` reads ``CHUNK`` of them."""
    read(0)
    start = time.process_time()
    done = sum(read(i) for i in range(1, 1 + REPEATS))
    return done / max(time.process_time() - start, 1e-9)
