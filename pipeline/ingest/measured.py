"""How much of a prepared dataset was measured: the flags of values that may be missing or copied."""

from itertools import pairwise

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.results import Unmeasured
from pipeline.ingest.statistics import CHUNK

PARTS = 10


def unmeasured(dataset: PreparedDataset) -> dict[str, Unmeasured]:
    """Share of observations without a measurement of each flagged column, over the log and in ten parts of it."""
    result: dict[str, Unmeasured] = {}
    for key, flags in dataset.spec.flags.items():
        columns = sorted(set(flags.values()))
        edges = np.linspace(0, len(dataset.obs[key]), PARTS + 1).astype(int)
        counts = np.array([_count(dataset.obs[key], columns, *edge) for edge in pairwise(edges)])
        rows = np.maximum(np.diff(edges), 1)[:, None]
        for i, column in enumerate(columns):
            name = dataset.spec.obs_names[key][column].removesuffix(" measured")
            parts = np.round(1 - counts[:, i] / rows[:, 0], 4).tolist()
            result[name] = Unmeasured(round(float(1 - counts[:, i].sum() / edges[-1]), 4), parts)
    return result


def _count(obs: np.ndarray, columns: list[int], start: int, stop: int) -> np.ndarray:
    """Number of ones in each of ``columns`` of the rows from ``start`` to ``stop``, read a limited number at a time."""
    count = np.zeros(len(columns))
    for first in range(start, stop, CHUNK):
        count += obs[first : min(first + CHUNK, stop)][:, columns].sum(axis=0, dtype=np.float64)
    return count
