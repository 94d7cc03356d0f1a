"""The prepared dataset on disk: memory-mapped arrays, a spec, and a split by episode.

``obs.<key>.npy``, ``action.npy``, ``reward.npy`` and ``terminal.npy`` are aligned and have sum(T_i + 1) rows. A row
holds an observation and the action, reward and terminal of the step from it. The last row of an episode holds only its
final observation (action 0, reward 0, terminal False). ``offsets.npy`` "E+1" holds the first row of each episode and
the number of rows. Where the log has times, ``spans.npy`` "E 2" holds those of the first and the last observation of
each episode.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.spec import SCHEMA_VERSION, DatasetSpec, read_spec
from pipeline.data.stored_arrays import SPANS, read_arrays

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "held_out", "all")
IN_MEMORY = 1.0  # GiB of transitions as tensors; those of larger logs are read from disk as they are needed
EPISODES = 1024  # whose rewards are read at once


class Starts:
    """The start rows of all windows of ``length`` steps within single episodes, in order; indexed without an array of
    all of them. ``first`` and ``lengths`` "E" are the first row and the number of steps of each episode."""

    def __init__(self, first: np.ndarray, lengths: np.ndarray, length: int) -> None:
        assert length >= 1
        self.first = first
        self.count = np.maximum(lengths - length + 1, 0)
        self.ends = np.cumsum(self.count)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """The start rows of the windows ``index``, int64 of the same shape."""
        episode = np.searchsorted(self.ends, index, side="right")
        return (self.first - self.ends + self.count)[episode] + index

    def all(self) -> np.ndarray:
        """The start rows of all windows, int64."""
        return np.repeat(self.first - self.ends + self.count, self.count) + np.arange(len(self))


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset of R rows in E episodes. ``split`` is "train", "held_out" or "all".

    ``obs`` maps a key to float32 [R, O] or uint8 images [R, H, W, C]; ``action`` [R, A] in [-1, 1]; ``reward`` [R];
    ``terminal`` bool [R]; ``offsets`` int64 [E+1]; ``held_out`` bool [E].
    """

    spec: DatasetSpec
    obs: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    offsets: np.ndarray
    held_out: np.ndarray
    spans: np.ndarray | None = None  # float64 [E, 2]; None where the log has no times

    def episodes(self, split: str) -> np.ndarray:
        """Indices of the episodes of a split, int64."""
        assert split in SPLITS, split
        chosen = np.ones_like(self.held_out) if split == "all" else self.held_out == (split == "held_out")
        return np.flatnonzero(chosen)

    def starts(self, split: str, length: int) -> Starts:
        """The start rows of all windows of ``length`` steps within one episode."""
        return Starts(self.offsets[self.episodes(split)], self.episode_lengths(split), length)

    def windows(self, split: str, length: int) -> np.ndarray:
        """The same as one array, int64."""
        return self.starts(split, length).all()

    def steps(self, split: str) -> np.ndarray:
        """The row of every transition, int64; its next observation is in row + 1."""
        return self.windows(split, 1)

    def flat_obs(self, rows: np.ndarray) -> np.ndarray:
        """Vector observations of ``rows``, concatenated in the order of their sorted keys, float32 "n O"; "n 0" if
        there are only images."""
        parts = [np.asarray(self.obs[key][rows], np.float32) for key in self.spec.vector_keys]
        return np.concatenate([np.zeros((len(rows), 0), np.float32), *parts], axis=1)

    def transitions(self, split: str) -> "dict[str, Tensor]":
        """``obs`` "B O", ``action`` "B A", ``reward`` "B", ``next_obs`` "B O" and ``terminal`` "B" (1.0 at a true end),
        all float32. Images are left out; read them from ``obs`` by row."""
        import torch

        rows = self.steps(split)
        arrays = {
            "obs": self.flat_obs(rows),
            "action": self.action[rows],
            "reward": self.reward[rows],
            "next_obs": self.flat_obs(rows + 1),
            "terminal": self.terminal[rows].astype(np.float32),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def episode_lengths(self, split: str) -> np.ndarray:
        """Number of steps of each episode of a split, int64."""
        return (np.diff(self.offsets) - 1)[self.episodes(split)]

    def episode_returns(self, split: str) -> np.ndarray:
        """Undiscounted return of each episode of a split, float64."""
        returns = [np.zeros(0)]
        for first in range(0, len(self.offsets) - 1, EPISODES):
            offsets = self.offsets[first : first + EPISODES + 1]
            rewards = self.reward[offsets[0] : offsets[-1]].astype(np.float64)
            returns.append(np.add.reduceat(rewards, offsets[:-1] - offsets[0]))
        return np.concatenate(returns)[self.episodes(split)]


def open_dataset(folder: Path | str) -> PreparedDataset:
    """The dataset in ``folder``, memory-mapped. Raises ValueError if it is missing, damaged or of another version."""
    folder = Path(folder)
    if not (folder / "spec.json").exists():
        raise ValueError(f"{folder}: no prepared dataset; run `dvc repro ingest`")
    spec = read_spec(folder / "spec.json")
    arrays = read_arrays(folder, spec)
    return PreparedDataset(
        spec=spec,
        obs={key: arrays[f"obs.{key}"] for key in spec.obs_keys},
        action=arrays["action"],
        reward=arrays["reward"],
        terminal=arrays["terminal"],
        offsets=np.array(arrays["offsets"]),
        held_out=np.array(arrays["held_out"]),
        spans=np.array(arrays[SPANS]) if SPANS in arrays else None,
    )


__all__ = ["SCHEMA_VERSION", "SPLITS", "DatasetSpec", "PreparedDataset", "open_dataset"]
