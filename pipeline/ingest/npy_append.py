"""npy files that are appended to while a log streams in."""

from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from pipeline.data.episode import Episode


class GrowingArray:
    """A .npy file that grows row by row, valid once closed.

    NumPy pads the header, so the final number of rows can be written in place.
    """

    def __init__(self, file: Path, row_shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.row_shape = row_shape
        self.rows = 0
        self.stream: BinaryIO = file.open("wb")
        self._write_header()

    def append(self, array: np.ndarray) -> None:
        """Write the rows "N ..." of ``array`` after those written so far."""
        self.stream.write(np.ascontiguousarray(array, self.dtype).data)
        self.rows += len(array)

    def close(self) -> None:
        """Write the final number of rows into the header and close the file."""
        end = self.stream.tell()
        self.stream.seek(0)
        self._write_header()
        self.stream.seek(end)
        self.stream.close()

    def _write_header(self) -> None:
        shape = (self.rows, *self.row_shape)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.stream, header)


class EpisodeFiles:
    """The arrays of :mod:`pipeline.data.dataset` that have one entry a row, open for appending."""

    def __init__(self, folder: Path, first: Episode) -> None:
        self.obs = {k: GrowingArray(folder / f"obs.{k}.npy", v.shape[1:], v.dtype) for k, v in first.obs.items()}
        self.action = GrowingArray(folder / "action.npy", first.action.shape[1:], np.float32)
        self.reward = GrowingArray(folder / "reward.npy", (), np.float32)
        self.terminal = GrowingArray(folder / "terminal.npy", (), bool)
        self.cost = None if first.cost is None else GrowingArray(folder / "cost.npy", first.cost.shape[1:], np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for array in (*self.obs.values(), self.action, self.reward, self.terminal, self.cost):
            if array is not None:
                array.close()

    def append(self, episode: Episode) -> None:
        """Write the T steps of an episode as T + 1 rows; the last one holds the final observation alone."""
        steps = len(episode.action)
        for key, values in episode.obs.items():
            self.obs[key].append(values)
        self.action.append(_with_final_row(episode.action))
        self.reward.append(_with_final_row(episode.reward))
        terminal = np.zeros(steps + 1, bool)
        terminal[steps - 1] = episode.terminated
        self.terminal.append(terminal)
        if self.cost is not None and episode.cost is not None:
            self.cost.append(_with_final_row(episode.cost))


def _with_final_row(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array[:1])])
