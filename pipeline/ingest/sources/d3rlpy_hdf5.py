"""HDF5 files of d3rlpy 1.x (``MDPDataset.dump``; Seno and Imai, arXiv:2111.03788)."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic.dataclasses import dataclass

from pipeline.data.episode import LoggedData
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.flat import Columns, FlatConfig, read_flat
from pipeline.validation import OPTIONS


@dataclass(frozen=True, config=OPTIONS)
class D3rlpyHdf5Config(FlatConfig):
    """``terminals`` holds true ends alone, ``episode_terminals`` every end. There are no next observations, so the last
    step of each episode is dropped and counted."""

    timeout_key: str | None = "episode_terminals"
    next_obs_key: str | None = None
    ends_share_a_column: ClassVar[bool] = True


class D3rlpyHdf5:
    """Source of the files that ``MDPDataset.dump`` writes."""

    Config = D3rlpyHdf5Config

    def __init__(self, config: D3rlpyHdf5Config) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for files that are missing, damaged or lack a column."""
        return read_flat(self.config, "d3rlpy_hdf5", _read)


def _read(path: Path, wanted: set[str]) -> Columns:
    """The wanted columns, and the kind of actions, which d3rlpy stores as a scalar dataset."""
    columns = read_hdf5(path, wanted | {"discrete_action"})
    discrete = columns.arrays.pop("discrete_action", None)
    kind = None if discrete is None else DISCRETE if discrete else CONTINUOUS
    return replace(columns, attributes={**columns.attributes, "action_kind": kind})
