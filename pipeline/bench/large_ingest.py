"""``python -m pipeline.bench.large_ingest``: ingest of a log larger than memory, generated as it is read.

Prints the time, the rows a second of processor time, and the peak of anonymous memory (``RssAnon`` on Linux). Pages of
memory-mapped files are not counted, because the kernel can reclaim them.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench.memory import AnonymousPeak
from pipeline.data.episode import Episode
from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

OBS, ACTION, STEPS = 17, 6, 1000  # the shapes of HalfCheetah
ROW_BYTES = 4 * (OBS + ACTION + 1) + 1


def episodes(count: int, steps: int = STEPS, obs: int = OBS, actions: int = ACTION) -> Iterator[Episode]:
    """Yield one random walk from ``count`` different starts: cheap to generate, and no two episodes are equal."""
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(steps + 1, obs)).astype(np.float32).cumsum(axis=0)
    action = rng.uniform(-1, 1, (steps, actions)).astype(np.float32)
    reward = rng.normal(size=steps).astype(np.float32)
    for index in range(count):
        yield Episode({"state": walk + np.float32(index / count)}, action, reward, terminated=False)


def measure(gigabytes: float, scratch: Path | None, steps: int = STEPS) -> dict[str, Any]:
    """Time and memory of ingesting about ``gigabytes`` (10^9 bytes) of prepared arrays, in episodes of ``steps``, into
    a temporary folder below ``scratch``."""
    count = max(2, round(gigabytes * 1e9 / (ROW_BYTES * (steps + 1))))
    where = {"path": __file__, "held_out_path": __file__, "function": "pipeline.bench.large_ingest:episodes"}
    bounds = {"action_low": [-1.0] * ACTION, "action_high": [1.0] * ACTION}
    block = {"source": "callable", **where, "kwargs": {"count": count, "steps": steps}, **bounds}
    source, config = choose(SOURCES, block, "dataset", key="source")
    with tempfile.TemporaryDirectory(dir=scratch) as folder, AnonymousPeak() as memory:
        start = time.perf_counter()
        processor_start = time.process_time()
        dataset = write_dataset(Path(folder) / "dataset", source(config).read(), "large", 0.1, 0)
        written = time.process_time() - processor_start
        card(dataset, run_checks(dataset))
        seconds = time.perf_counter() - start
        processor_seconds = time.process_time() - processor_start
        stored = sum(file.stat().st_size for file in (Path(folder) / "dataset").iterdir())
    return {
        "transitions": dataset.spec.transitions,
        "gigabytes": stored / 1e9,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "rows_a_second_written": dataset.spec.transitions / written,
        "check_seconds": processor_seconds - written,
        "anonymous_mib_before": memory.start >> 20,
        "anonymous_mib_peak": memory.peak >> 20,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the prepared arrays, deleted afterwards")
    parser.add_argument("--scratch", type=Path, help="folder on a file system with that much free space")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of an episode")
    arguments = parser.parse_args()
    print(measure(arguments.gigabytes, arguments.scratch, arguments.steps))
