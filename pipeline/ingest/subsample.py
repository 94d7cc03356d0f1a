"""A share of the training episodes: which of them stay, and the stored arrays without the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.ingest.npy_append import GrowingArray


def chosen_share(groups: Sequence[int], held_out: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Episodes that stay, bool "E": all held-out ones, and ``share`` of the different training episodes, at least one,
    each with its copies (``groups`` "E" numbers those alike). A smaller share is part of every larger one."""
    assert 0 < share <= 1, share
    different = np.unique(np.asarray(groups)[~held_out])
    # The order does not know the share, so shares are nested; the second number sets its draws apart from the split's.
    order = np.random.default_rng([seed, 1]).permutation(different)
    return held_out | np.isin(groups, order[: max(1, round(share * len(order)))])


def keep_episodes(folder: Path, offsets: np.ndarray, kept: np.ndarray) -> None:
    """Write the row arrays in ``folder`` again, one episode at a time, without those outside ``kept``, bool "E"."""
    for file in sorted(folder.glob("*.npy")):
        old, partial = np.load(file, mmap_mode="r"), file.with_suffix(".kept")
        new = GrowingArray(partial, old.shape[1:], old.dtype)
        for episode in np.flatnonzero(kept):
            new.append(old[offsets[episode] : offsets[episode + 1]])
        new.close()
        partial.replace(file)
