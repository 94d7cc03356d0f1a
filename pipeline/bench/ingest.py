"""Speed of ingest: reading, validating, splitting and storing an .npz log in a temporary folder."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench.timing import REPEATS
from pipeline.bench.world import BenchConfig
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

EPISODE = 1000  # steps


def ingest_speed(config: BenchConfig) -> dict[str, Any]:
    """Speed in MB (10^6 bytes of the log) per second."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.npz"
        _write_log(log, config)
        megabytes = log.stat().st_size / 1e6
        seconds = [_ingest(log, Path(folder) / f"dataset-{i}") for i in range(REPEATS)]
    median = statistics.median(seconds)
    return {
        "transitions": config.ingest_rows,
        "megabytes": megabytes,
        "seconds": median,
        "repeats": seconds,
        "mb_per_second": megabytes / median,
    }


def _ingest(log: Path, folder: Path) -> float:
    block = {"source": "npz", "path": str(log), "held_out_path": str(log)}
    source, config = choose(SOURCES, block, "dataset", key="source")
    start = time.perf_counter()
    write_dataset(str(folder), source(config).read(), "bench", 0.1, 0)
    return time.perf_counter() - start


def _write_log(file: Path, config: BenchConfig) -> None:
    rng = np.random.default_rng(0)
    steps = config.ingest_rows
    obs = rng.normal(size=(steps + 1, config.obs)).astype(np.float32)
    action = rng.uniform(-1, 1, (steps, config.action)).astype(np.float32)
    ends = (np.arange(1, steps + 1) % EPISODE == 0).astype(np.float32)
    reward = rng.normal(size=steps).astype(np.float32)
    np.savez(file, obs=obs[:-1], next_obs=obs[1:], action=action, reward=reward, done=0 * ends, truncated=ends)
