"""Keep a share of the training episodes (``dataset.train_share``)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.ingest.npy_append import GrowingArray


def choose_episodes(groups: Sequence[int], held_out: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Episodes to keep, bool "E": all held-out ones, and ``share`` of the distinct training episodes, at least one.

    ``groups`` "E" has equal numbers for copies of one episode; copies stay together. The episodes of a smaller share
    are among those of every larger one.
    """
    assert 0 < share <= 1, share
    distinct = np.unique(np.asarray(groups)[~held_out])
    # The order is independent of the share, so shares are nested. The 1 makes the draws independent of the split's.
    order = np.random.default_rng([seed, 1]).permutation(distinct)
    return held_out | np.isin(groups, order[: max(1, round(share * len(order)))])


def keep_episodes(folder: Path, offsets: np.ndarray, kept: np.ndarray) -> None:
    """Rewrite the arrays in ``folder``, one episode at a time, with only the episodes in ``kept``, bool "E"."""
    for file in sorted(folder.glob("*.npy")):
        old, partial = np.load(file, mmap_mode="r"), file.with_suffix(".kept")
        new = GrowingArray(partial, old.shape[1:], old.dtype)
        for episode in np.flatnonzero(kept):
            new.append(old[offsets[episode] : offsets[episode + 1]])
        new.close()
        partial.replace(file)
