"""npy files that are appended to while a log streams in."""

from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from pipeline.ingest.blocks import Block
from pipeline.ingest.copies import in_order


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

    def __init__(self, folder: Path, first: Block) -> None:
        self.files = {name: folder / f"{name.replace('obs ', 'obs.', 1)}.npy" for name in first.arrays}
        self.arrays = {n: GrowingArray(self.files[n], a.shape[1:], a.dtype) for n, a in first.arrays.items()}
        self.terminal = GrowingArray(folder / "terminal.npy", (), bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for array in (*self.arrays.values(), self.terminal):
            array.close()

    def append(self, block: Block) -> None:
        """Write the rows of ``block``. An episode's last row keeps its final observation alone, and zeros."""
        last = block.offsets[1:] - 1
        for name, array in block.arrays.items():
            if not name.startswith("obs "):
                array[last] = 0
            self.arrays[name].append(array)
        terminal = np.zeros(block.offsets[-1], bool)
        terminal[last - 1] = [episode.terminated for episode in block.episodes]
        self.terminal.append(terminal)

    def read(self) -> list[np.ndarray]:
        """The written arrays of the log in the order of their names, memory-mapped, once the files are closed."""
        return in_order({name: np.load(file, mmap_mode="r") for name, file in self.files.items()})
