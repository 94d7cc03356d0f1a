"""HDF5 files with D4RL's columns, and relatives of that layout under other names."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.data.logged import LoggedData
from pipeline.data.sources.flat import Columns, FlatConfig, read_flat


@dataclass(frozen=True)
class D4rlHdf5Config(FlatConfig):
    """Defaults are D4RL's names."""


class D4rlHdf5:
    Config = D4rlHdf5Config

    def __init__(self, config: D4rlHdf5Config) -> None:
        self.config = config

    def read(self) -> LoggedData:
        return read_flat(self.config, "d4rl_hdf5", read_hdf5)


def read_hdf5(path: Path, wanted: set[str]) -> Columns:
    """The wanted top-level datasets of a file. Raises ValueError when it cannot be read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names = [name for name in file if isinstance(file[name], h5py.Dataset)]
            arrays = {name: file[name][()] for name in names if name in wanted}
            return Columns(arrays, names, dict(file.attrs.items()))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: truncated, corrupt or not HDF5 ({reason}); fetch the file again") from None
