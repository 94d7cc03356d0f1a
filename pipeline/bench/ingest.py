"""Speed and memory of ingest: reading, validating, splitting and storing logs in a temporary folder.

Each log is read by a process of its own, so that its peak of memory is that of ingest.
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bench.memory import AnonymousPeak
from pipeline.bench.timing import REPEATS
from pipeline.bench.world import BenchConfig
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

NEEDS = {"npz": "numpy", "hdf5": "h5py", "parquet": "pyarrow", "csv": "pyarrow"}  # the library of each kind of file


def ingest_speed(config: BenchConfig) -> dict[str, Any]:
    """Every kind of file and length of episodes; and MB (10^6 bytes of the file) a second of npz with the longest."""
    kinds = [kind for kind in config.ingest_kinds if importlib.util.find_spec(NEEDS[kind]) is not None]
    cases = [_case(kind, steps, config) for kind in kinds for steps in sorted(config.ingest_episodes)]
    npz = [case for case in cases if case["kind"] == "npz"][-1]
    return {**npz, "mb_per_second": npz["megabytes"] / npz["seconds"], "cases": cases}


def _case(kind: str, steps: int, config: BenchConfig) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / f"log.{kind}"
        write_log(log, config, steps)
        arguments = [str(log), str(Path(folder) / "dataset"), str(config.obs), str(config.action)]
        command = [sys.executable, "-c", "from pipeline.bench.ingest import main; main()", *arguments]
        run = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        megabytes = log.stat().st_size / 1e6
    seconds, processor_seconds = (statistics.median(run[key]) for key in ("seconds", "processor_seconds"))
    return {
        "kind": kind,
        "episode": steps,
        "transitions": run["transitions"],
        "megabytes": megabytes,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "repeats": run["seconds"],
        "steps_per_processor_second": run["transitions"] / processor_seconds,
        "anonymous_mib": run["anonymous_mib"],
    }


def ingest(log: Path, folder: Path, obs: int, action: int) -> dict[str, Any]:
    """Times and peak of memory of ``REPEATS`` runs. The import of a table's library is not counted."""
    where = {"path": str(log), "held_out_path": str(log)}
    block: dict[str, Any] = {"source": {".npz": "npz", ".hdf5": "d4rl_hdf5"}.get(log.suffix, "table"), **where}
    if block["source"] == "table":
        block |= {"obs_columns": [f"o{i}" for i in range(obs)], "action_columns": [f"a{i}" for i in range(action)]}
        block |= {"terminal_column": None, "timeout_column": "timeout", "max_dropped_return": 1.0}
        for library in ("csv", "compute", "parquet"):
            importlib.import_module(f"pyarrow.{library}")
    source, config = choose(SOURCES, block, "dataset", key="source")
    seconds, processor_seconds = [], []
    with AnonymousPeak() as memory:
        for _ in range(REPEATS):
            start, processor_start = time.perf_counter(), time.process_time()
            dataset = write_dataset(folder, source(config).read(), "bench", 0.1, 0)
            seconds.append(time.perf_counter() - start)
            processor_seconds.append(time.process_time() - processor_start)
    return {
        "transitions": dataset.spec.transitions,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "anonymous_mib": memory.mib,
    }


def write_log(file: Path, config: BenchConfig, steps: int) -> None:
    """A log of random numbers in episodes of ``steps`` steps, in the format of the file's suffix."""
    rng = np.random.default_rng(0)
    rows = config.ingest_rows
    obs = rng.normal(size=(rows + 1, config.obs)).astype(np.float32)
    action = rng.uniform(-1, 1, (rows, config.action)).astype(np.float32)
    ends = (np.arange(1, rows + 1) % steps == 0).astype(np.float32)
    reward, zeros = rng.normal(size=rows).astype(np.float32), np.zeros(rows, np.float32)
    if file.suffix == ".npz":
        np.savez(file, obs=obs[:-1], next_obs=obs[1:], action=action, reward=reward, done=zeros, truncated=ends)
        return
    if file.suffix == ".hdf5":
        import h5py

        with h5py.File(file, "w") as stored:
            columns = {"observations": obs[:-1], "next_observations": obs[1:], "actions": action}
            for name, column in {**columns, "rewards": reward, "terminals": zeros, "timeouts": ends}.items():
                stored[name] = column
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    features = {"episode": np.arange(rows) // steps, "reward": reward, "timeout": ends}
    features |= {f"o{i}": obs[:-1, i] for i in range(config.obs)}
    features |= {f"a{i}": action[:, i] for i in range(config.action)}
    write = csv.write_csv if file.suffix == ".csv" else parquet.write_table
    write(pa.table(features), file)


def main() -> None:
    """Print what :func:`ingest` returns for the arguments of this process."""
    log, folder, obs, action = sys.argv[1:]
    print(json.dumps(ingest(Path(log), Path(folder), int(obs), int(action))))
