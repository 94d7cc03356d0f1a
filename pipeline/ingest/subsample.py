"""Keep a share of the training episodes (``dataset.train_share``), and the parts of a chronological split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.ingest.episode_table import Piece
from pipeline.ingest.npy_append import GrowingArray


def choose_episodes(copies: Sequence[int], held_out: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Episodes to keep, bool "E": all held-out ones, and ``share`` of the distinct training episodes, at least one.

    ``copies`` "E" has equal numbers for copies of one episode; copies stay together. The episodes of a smaller share
    are among those of every larger one.
    """
    assert 0 < share <= 1, share
    distinct = np.unique(np.asarray(copies)[~held_out])
    # The order is independent of the share, so shares are nested. The 1 makes the draws independent of the split's.
    order = np.random.default_rng([seed, 1]).permutation(distinct)
    return held_out | np.isin(copies, order[: max(1, round(share * len(order)))])


def keep_pieces(folder: Path, offsets: np.ndarray, pieces: Sequence[Piece]) -> None:
    """Rewrite the arrays in ``folder``, one piece at a time, with only ``pieces`` of the episodes at ``offsets``.

    The last row of a piece holds its final observation alone.
    """
    starts = [offsets[piece.episode] + piece.first for piece in pieces]
    finals = [offsets[piece.episode] + piece.stop for piece in pieces]
    for file in sorted(folder.glob("*.npy")):
        old, partial = np.load(file, mmap_mode="r"), file.with_suffix(".kept")
        new = GrowingArray(partial, old.shape[1:], old.dtype)
        for start, final in zip(starts, finals, strict=True):
            new.append(old[start:final])
            last = old[final : final + 1]
            new.append(last if file.name.startswith("obs.") else np.zeros_like(last))
        new.close()
        partial.replace(file)
