"""HDF5 files with D4RL's columns, or with the same columns under other names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline.data.episode import LoggedData
from pipeline.ingest.sources.flat import Columns, FlatConfig, read_flat
from pipeline.ingest.sources.stored import StoredRows, is_wide
from pipeline.validation import OPTIONS

if TYPE_CHECKING:
    import h5py


@dataclass(frozen=True, config=OPTIONS)
class D4rlHdf5Config(FlatConfig):
    """Defaults are D4RL's names."""


class D4rlHdf5:
    """Source of D4RL files."""

    Config = D4rlHdf5Config

    def __init__(self, config: D4rlHdf5Config) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for files that are missing, damaged or lack a column."""
        return read_flat(self.config, "d4rl_hdf5", read_hdf5)


def read_hdf5(path: Path, wanted: set[str]) -> Columns:
    """The wanted top-level datasets of a file; wide ones stay on disk. Raises ValueError if it cannot be read."""
    import h5py

    with _readable(path), h5py.File(path, "r") as file:
        names = [name for name in file if isinstance(file[name], h5py.Dataset)]
        columns = {name: file[name] for name in names if name in wanted}
        arrays = {name: _stored(path, c) if is_wide(c.shape) else c[()] for name, c in columns.items()}
        return Columns(arrays, names, dict(file.attrs.items()))


def _stored(path: Path, column: "h5py.Dataset") -> StoredRows:
    import h5py

    name = column.name

    def read(start: int, stop: int) -> np.ndarray:
        with _readable(path), h5py.File(path, "r") as file:
            return np.asarray(file[name][start:stop])

    return StoredRows(column.shape, column.dtype, read)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: truncated, corrupt or not HDF5 ({reason}); fetch the file again") from None
