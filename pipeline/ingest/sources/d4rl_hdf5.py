"""HDF5 files with D4RL's columns, or with the same columns under other names."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline.data.episode import LoggedData
from pipeline.ingest.sources.flat import Columns, FlatConfig, read_flat
from pipeline.ingest.sources.hdf5_file import SUFFIXES, find, open_hdf5, own_names, read_all
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
        return read_flat(self.config, "d4rl_hdf5", read_hdf5, SUFFIXES)


def read_hdf5(path: Path, wanted: set[str]) -> Columns:
    """The wanted datasets of a file, those in groups by their path; wide ones stay on disk.

    Raises ValueError if the file cannot be read, or if it has groups in place of columns.
    """
    import h5py

    with open_hdf5(path) as file:
        members = {name: file[name] for name in own_names(file)}
        groups = [name for name, member in members.items() if isinstance(member, h5py.Group)]
        columns = {name: column for name in sorted(wanted) if isinstance(column := find(file, name), h5py.Dataset)}
        if groups and not columns:
            fix = "set `dataset.source: hdf5_groups` if each is an episode, or name columns by path (group/column)"
            raise ValueError(f"{path}: no columns, but groups ({', '.join(groups[:3])}); {fix}")
        arrays = {name: _stored(path, c) if is_wide(c.shape) else read_all(c) for name, c in columns.items()}
        names = [name for name, member in members.items() if isinstance(member, h5py.Dataset)]
        return Columns(arrays, list(dict.fromkeys([*names, *columns])), dict(file.attrs.items()))


def _stored(path: Path, column: "h5py.Dataset") -> StoredRows:
    name = column.name

    def read(start: int, stop: int) -> np.ndarray:
        with open_hdf5(path) as file:
            return np.asarray(file[name][start:stop])

    return StoredRows(column.shape, column.dtype, read)
