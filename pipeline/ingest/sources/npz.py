"""npz files with one array per column, or folders with one npy file per column.

The default names are those of NeoRL-2 (Gao et al., arXiv:2503.19267).
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline.data.episode import LoggedData
from pipeline.ingest.sources.flat import Columns, FlatConfig, read_flat
from pipeline.ingest.sources.stored import BLOCK, Rows, StoredRows, is_wide
from pipeline.ingest.validate import check_memory
from pipeline.validation import OPTIONS, Text

DAMAGE = (OSError, ValueError, OverflowError, EOFError, AttributeError, KeyError)  # what NumPy raises for it


@dataclass(frozen=True, config=OPTIONS)
class NpzConfig(FlatConfig):
    """Options of source ``npz``: the names of the arrays."""

    obs_key: Text = "obs"  # column of observations
    action_key: Text = "action"
    reward_key: Text | None = "reward"
    terminal_key: Text | None = "done"
    timeout_key: Text | None = "truncated"
    next_obs_key: Text | None = "next_obs"


class Npz:
    """Source of npz files."""

    Config = NpzConfig

    def __init__(self, config: NpzConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for files that are missing, damaged or lack a column."""
        return read_flat(self.config, "npz", read_npz, (".npz", ".npy"))


def read_npz(path: Path, wanted: set[str]) -> Columns:
    """The wanted arrays of a file or of a folder of npy files, without unpickling; wide ones stay on disk.

    Raises ValueError if they cannot be read.
    """
    if path.is_dir():
        return _read_folder(path, wanted)
    with _readable(path):
        if not zipfile.is_zipfile(path):
            single = path.open("rb").read(6) == np.lib.format.MAGIC_PREFIX
            raise ValueError("a single array, expected an archive" if single else "no complete zip archive")
        with np.load(path, allow_pickle=False) as file:
            members = {name: Member(path, name) for name in file.files if name in wanted}
            pickled = [name for name, member in members.items() if member.dtype.hasobject]
            plain = {name: member for name, member in members.items() if name not in pickled}
            names = list(file.files)
    if pickled:
        raise ValueError(_pickled(path, pickled))
    arrays: dict[str, Rows] = {name: m.rows() if m.in_rows else m.whole() for name, m in plain.items()}
    return Columns(arrays, names, {})


def _read_folder(path: Path, wanted: set[str]) -> Columns:
    files = {file.stem: file for file in sorted(path.glob("*.npy"))}
    arrays: dict[str, Rows] = {}
    for name in sorted(wanted & set(files)):
        with _readable(files[name]):
            with files[name].open("rb") as stream:
                _, _, dtype = _header(stream)
            if not dtype.hasobject:
                array = np.load(files[name], mmap_mode="r", allow_pickle=False)
        if dtype.hasobject:
            raise ValueError(_pickled(files[name], [name]))
        if not is_wide(array.shape):
            check_memory(str(files[name]), array.nbytes)
        arrays[name] = array if is_wide(array.shape) else np.array(array)
    return Columns(arrays, list(files), {})


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the array is stored column by column, and dtype."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(stream)


def _pickled(path: Path, names: list[str]) -> str:
    """The message for arrays of Python objects, which are mostly lists of episodes of different lengths."""
    columns = ", ".join(f"`{name}`" for name in names)
    code = "np.savez(new, **{k: np.concatenate(list(v)) for k, v in np.load(old, allow_pickle=True).items()})"
    danger = "which are never loaded here, since that may run code of the file"
    return f"{path}: {columns} hold pickled Python objects, {danger}; join the episodes of a file you trust: `{code}`"


class Member:
    """One array of an npz archive, compressed or not, read as a stream.

    It reads forward without seeking and starts again to go back, so that zipfile verifies the checksum at the end.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._open()

    def _open(self) -> None:
        archive = zipfile.ZipFile(self.path)  # stays open between reads
        self.stream = archive.open(f"{self.name}.npy")
        self.shape, self.by_column, self.dtype = _header(self.stream)
        self.begin = self.stream.tell()
        claimed, stored = math.prod(self.shape) * self.dtype.itemsize, archive.getinfo(f"{self.name}.npy").file_size
        if not self.dtype.hasobject and (min(self.shape, default=0) < 0 or claimed != stored - self.begin):
            rows = f"`{self.name}` claims shape {list(self.shape)} of {self.dtype}"
            raise ValueError(f"{rows}, {claimed} bytes, and holds {stored - self.begin}")

    @property
    def in_rows(self) -> bool:
        """Whether the array is stored row by row and has several numbers per row."""
        return is_wide(self.shape) and not self.by_column and not self.dtype.hasobject

    def rows(self) -> StoredRows:
        """The array as rows that are read from disk."""
        return StoredRows(self.shape, self.dtype, self.read)

    def whole(self) -> np.ndarray:
        """The array in memory. Raises ValueError if it does not fit there, or if the file is damaged."""
        check_memory(f"{self.path}: `{self.name}`", math.prod(self.shape) * self.dtype.itemsize)
        with _readable(self.path), np.load(self.path, allow_pickle=False) as file:
            return np.asarray(file[self.name])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows from ``start`` to ``stop``, "n ...". Raises ValueError if the file is damaged."""
        width = int(np.prod(self.shape[1:]))
        with _readable(self.path):
            self._seek(self.begin + start * width * self.dtype.itemsize)
            data = self.stream.read((stop - start) * width * self.dtype.itemsize)
            return np.frombuffer(data, self.dtype, (stop - start) * width).reshape(-1, *self.shape[1:])

    def _seek(self, position: int) -> None:
        if position < self.stream.tell():
            self._open()
        while self.stream.tell() < position and self.stream.read(min(position - self.stream.tell(), BLOCK)):
            pass


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: truncated, corrupt or not npz ({reason}); fetch the file again") from None
