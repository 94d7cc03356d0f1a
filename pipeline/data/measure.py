"""What is measured on the stored arrays, a bounded number of rows at a time: scales, and the digest."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 1 << 17  # rows held in memory at a time
Moments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # minimum, maximum, mean, standard deviation


def statistics(folder: Path, offsets: np.ndarray, held_out: np.ndarray) -> tuple[dict[str, Moments], Moments]:
    """Moments of the train split: every observation row by key, and the rewards of real steps."""
    train = np.repeat(~held_out, np.diff(offsets))
    keys = sorted(file.name[len("obs.") : -len(".npy")] for file in folder.glob("obs.*.npy"))
    obs = {key: _moments(folder / f"obs.{key}.npy", train) for key in keys}
    train[offsets[1:] - 1] = False
    return obs, _moments(folder / "reward.npy", train)


def map_actions(file: Path, offsets: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """From the log's own units to [-1, 1], in place; the row of a final observation has no action and gets 0."""
    actions = np.load(file, mmap_mode="r+")
    for start in range(0, len(actions), CHUNK):
        chunk = actions[start : start + CHUNK].astype(np.float64)
        actions[start : start + CHUNK] = np.clip(2 * (chunk - low) / (high - low) - 1, -1, 1)
    actions[offsets[1:] - 1] = 0
    actions.flush()


def _moments(file: Path, rows: np.ndarray) -> Moments:
    """Each float64 "O", over the rows where ``rows`` is True; in two passes, since squares of large values cancel."""
    array = np.load(file, mmap_mode="r")

    def chunks() -> Iterator[np.ndarray]:
        for start in range(0, len(array), CHUNK):
            chosen = rows[start : start + CHUNK]
            if chosen.any():
                yield array[start : start + CHUNK][chosen].reshape(chosen.sum(), -1).astype(np.float64)

    low = np.min([chunk.min(axis=0) for chunk in chunks()], axis=0)
    high = np.max([chunk.max(axis=0) for chunk in chunks()], axis=0)
    mean = np.sum([chunk.sum(axis=0) for chunk in chunks()], axis=0) / rows.sum()
    variance = np.sum([((chunk - mean) ** 2).sum(axis=0) for chunk in chunks()], axis=0) / rows.sum()
    return low, high, mean, np.where(low == high, 0.0, np.sqrt(variance))


def digest_of(folder: Path, facts: list[Any]) -> str:
    """32 hex digits of the array files and the facts that change their meaning."""
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for file in sorted(folder.glob("*.npy")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
