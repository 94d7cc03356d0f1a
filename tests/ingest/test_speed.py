"""Ingest streams: time and memory for 200,000 steps, a fifth of what is promised for a million."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.bench.large_ingest import measure

STEPS, LIMIT_SECONDS, LIMIT_BYTES = 200_000, 6, 2 << 30
PROGRAM = """
import sys, time, resource
from pathlib import Path
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

file, folder = sys.argv[1:]
source, config = choose(SOURCES, {"source": "npz", "path": file, "held_out_path": file}, "dataset", key="source")
start = time.perf_counter()
dataset = write_dataset(folder, source(config).read(), "speed", 0.1, 0)
print(dataset.spec.transitions, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_ingest_is_fast_and_small(tmp_path: Path) -> None:
    write_log(tmp_path / "log.npz", STEPS)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "log.npz"), str(tmp_path / "d")]
    steps, seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(steps) == STEPS
    assert float(seconds) < LIMIT_SECONDS
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB on Linux
    assert int(peak) * unit < LIMIT_BYTES


def write_log(file: Path, steps: int) -> None:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(steps + 1, 17)).astype(np.float32)
    ends = np.zeros(steps, np.float32)
    ends[199::200] = 1
    action = rng.uniform(-1, 1, (steps, 6)).astype(np.float32)
    reward, done = rng.normal(size=steps).astype(np.float32), np.zeros_like(ends)
    np.savez(file, obs=obs[:-1], next_obs=obs[1:], action=action, reward=reward, done=done, truncated=ends)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    small, large = (measure(gigabytes, tmp_path) for gigabytes in (0.02, 0.1))
    assert large["transitions"] == pytest.approx(5 * small["transitions"], rel=0.01)
    grown = [run["anonymous_mib_peak"] - run["anonymous_mib_before"] for run in (small, large)]
    assert grown[1] - grown[0] < 128  # of 100 MB stored: chunks and the sample of the checks keep their size
    assert grown[1] < 512
