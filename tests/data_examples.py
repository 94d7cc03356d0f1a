"""Logs in which every number encodes its episode and step, so that tests detect rows in the wrong place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

LENGTHS = (4, 1, 6, 3, 5)


def of_reading(dataset: PreparedDataset) -> list[str]:
    """The warnings of a dataset, without the one that a split of few episodes holds out only one."""
    return [warning for warning in dataset.spec.warnings if "1 held-out episode" not in warning]


def counting_episode(e: int, steps: int, terminated: bool = False) -> Episode:
    """Episode e: observation t is (100 e + t, e), action t is (100 e + t) / 1000, reward t is 100 e + t."""
    clock = 100.0 * e + np.arange(steps + 1)
    obs = np.stack([clock, np.full(steps + 1, e)], axis=1).astype(np.float32)
    return Episode(
        {"state": obs}, (clock[:-1, None] / 1000).astype(np.float32), clock[:-1].astype(np.float32), terminated
    )


def counting_log(lengths: tuple[int, ...] = LENGTHS, **fields: Any) -> LoggedData:
    """A log of counting episodes: even ones end in a terminal, odd ones at a time limit. ``fields`` are those of
    :class:`LoggedData`."""
    episodes = [counting_episode(e, steps, terminated=e % 2 == 0) for e, steps in enumerate(lengths)]
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    return LoggedData(**{"place": "counting", "source": "npz", "episodes": episodes, **bounds, **fields})


def counting_columns(lengths: tuple[int, ...] = LENGTHS) -> dict[str, np.ndarray]:
    """The counting log as flat columns with the names of the npz source."""
    episodes = [counting_episode(e, steps) for e, steps in enumerate(lengths)]
    ends = np.cumsum(lengths) - 1
    even = np.arange(len(lengths)) % 2 == 0
    done, truncated = np.zeros(sum(lengths), np.float32), np.zeros(sum(lengths), np.float32)
    done[ends[even]], truncated[ends[~even]] = 1, 1
    return {
        "obs": np.concatenate([e.obs["state"][:-1] for e in episodes]),
        "next_obs": np.concatenate([e.obs["state"][1:] for e in episodes]),
        "action": np.concatenate([e.action for e in episodes]),
        "reward": np.concatenate([e.reward for e in episodes]),
        "done": done,
        "truncated": truncated,
    }


def npz_block(file: Path, columns: dict[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Write the columns to ``file``; returns the block of params.yaml that reads them."""
    np.savez(file, **columns)  # type: ignore[arg-type]
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    return {"source": "npz", "path": str(file), "held_out_path": str(file), **bounds, **options}


def ingest_file(folder: Path, path: Path, source: str, **options: Any) -> PreparedDataset:
    """The prepared dataset of the log ``path``, stored below ``folder``."""
    block = {"source": source, "path": str(path), "held_out_path": str(path), **options}
    chosen, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder / "d", chosen(config).read(), "log", config.held_out_fraction, config.split_seed)


def refusal_of_file(folder: Path, path: Path, source: str, **options: Any) -> str:
    """The message, of one line, with which the log is refused."""
    with pytest.raises(ValueError) as caught:
        ingest_file(folder, path, source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
