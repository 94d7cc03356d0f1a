"""Arrays on disk that grow row by row while a log streams in."""

from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from pipeline.data.episode import Episode


class GrowingArray:
    """A .npy file that grows row by row. numpy pads its headers so that the final row count fits in place."""

    def __init__(self, file: Path, row_shape: tuple[int, ...], dtype: Any) -> None:
        self.dtype, self.row_shape, self.rows = np.dtype(dtype), row_shape, 0
        self.stream: BinaryIO = file.open("wb")
        self._header()

    def append(self, array: np.ndarray) -> None:
        self.stream.write(np.ascontiguousarray(array, self.dtype).data)
        self.rows += len(array)

    def close(self) -> None:
        start = self.stream.tell()
        self.stream.seek(0)
        self._header()
        self.stream.seek(start)
        self.stream.close()

    def _header(self) -> None:
        shape = (self.rows, *self.row_shape)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.stream, header)


class EpisodeFiles:
    """The row arrays of :mod:`pipeline.data.dataset`, open for appending."""

    def __init__(self, folder: Path, first: Episode) -> None:
        self.obs = {k: GrowingArray(folder / f"obs.{k}.npy", v.shape[1:], v.dtype) for k, v in first.obs.items()}
        self.action = GrowingArray(folder / "action.npy", first.action.shape[1:], np.float32)
        self.reward = GrowingArray(folder / "reward.npy", (), np.float32)
        self.terminal = GrowingArray(folder / "terminal.npy", (), bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for array in (*self.obs.values(), self.action, self.reward, self.terminal):
            array.close()

    def append(self, episode: Episode) -> None:
        steps = len(episode.action)
        for key, values in episode.obs.items():
            self.obs[key].append(values)
        self.action.append(_with_final(episode.action))
        self.reward.append(_with_final(episode.reward))
        terminal = np.zeros(steps + 1, bool)
        terminal[steps - 1] = episode.terminated
        self.terminal.append(terminal)


def _with_final(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros_like(array[:1])])
