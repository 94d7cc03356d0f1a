"""HDF5 files of d3rlpy (Seno and Imai, arXiv:2111.03788): ``MDPDataset.dump`` of 1.x, ``ReplayBuffer.dump`` of 2.x."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.array_files import array_files
from pipeline.ingest.sources.base import LogSpec, combine, require_path
from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.episode_parts import one_per_step, with_final
from pipeline.ingest.sources.flat import Columns, FlatConfig, read_flat
from pipeline.ingest.sources.hdf5_file import SUFFIXES, find, open_hdf5, read_all
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.validation import OPTIONS, Text

if TYPE_CHECKING:
    import h5py

FIX = "store the final observation as a Minari dataset does"


@dataclass(frozen=True, config=OPTIONS)
class D3rlpyHdf5Config(FlatConfig):
    """Of d3rlpy 1.x, ``terminals`` holds true ends alone, ``episode_terminals`` every end; of 2.x, the names of columns
    are fixed. There are no next observations, so the last step of an episode that did not truly end is dropped."""

    timeout_key: Text | None = "episode_terminals"
    next_obs_key: Text | None = None
    ends_share_a_column: ClassVar[bool] = True


class D3rlpyHdf5:
    """Source of the files that d3rlpy dumps."""

    Config = D3rlpyHdf5Config

    def __init__(self, config: D3rlpyHdf5Config) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for files that are missing, damaged or lack a column."""
        path = array_files(require_path(Path(self.config.path)), SUFFIXES)[0]
        with open_hdf5(path) as file:
            episodes = _count(file)
            if episodes == 0:
                return read_flat(self.config, "d3rlpy_hdf5", _read, SUFFIXES)
            first = _episode(path, file, 0)
        pairs = zip(self.config.parts, ("path", "held_out_path"), strict=False)
        parts = [
            (file, held_out)
            for (part, held_out), param in pairs
            for file in array_files(require_path(part, param), SUFFIXES)
        ]
        kind = first.action.dtype.kind
        spec = LogSpec(
            integer_actions=f"{path}: `actions_0` holds {first.action.dtype}" if kind in "iub" else None,
        )
        remarks = Remarks()
        return combine(
            self.config, "d3rlpy_hdf5", spec, _episodes(self.config, parts, remarks), 0, [], 0, remarks=remarks
        )


def _read(path: Path, wanted: set[str]) -> Columns:
    """The wanted columns, and the kind of actions, which d3rlpy stores as a scalar dataset."""
    columns = read_hdf5(path, wanted | {"discrete_action"})
    discrete = columns.arrays.pop("discrete_action", None)
    kind = None if discrete is None else DISCRETE if discrete else CONTINUOUS
    return replace(columns, attributes={**columns.attributes, "action_kind": kind})


def _count(file: "h5py.File") -> int:
    """Number of episodes of a file of d3rlpy 2.x; 0 for another file."""
    number = _array(file, "num_episodes")
    return 0 if number is None or number.size != 1 or number.dtype.kind not in "iu" else int(number.reshape(-1)[0])


def _episodes(config: D3rlpyHdf5Config, parts: list[tuple[Path, bool | None]], remarks: Remarks) -> Iterator[Episode]:
    last_steps = LastSteps(config.path, config.max_dropped_return, FIX)
    for path, held_out in parts:
        with open_hdf5(path) as file:
            for index in range(_count(file)):
                episode = with_final(_episode(path, file, index), last_steps)
                if episode is not None:
                    yield replace(episode, held_out=held_out)
    last_steps.report(remarks)


def _episode(path: Path, file: "h5py.File", index: int) -> Episode:
    """An episode without its final observation. Raises ValueError if a part of it is missing or of another shape."""
    obs = _tuple(file, f"observations_{index}")
    action, reward, terminated = (_array(file, f"{name}_{index}") for name in ("actions", "rewards", "terminated"))
    if not obs or action is None or reward is None or terminated is None or not action.ndim or terminated.size != 1:
        problem = f"episode {index} lacks observations, actions, rewards or terminated, or they have other shapes"
        raise ValueError(f"{path}: {problem}; dump the buffer again with d3rlpy 2.1 or later")
    return Episode(
        obs={"state": obs[0]} if len(obs) == 1 else {str(i): part for i, part in enumerate(obs)},
        action=action[:, None] if action.ndim == 1 else action,
        reward=one_per_step(f"{path}: episode {index}", "rewards", reward, len(action)),
        terminated=bool(one_per_step(f"{path}: episode {index}", "terminated", terminated, 1)[0]),
    )


def _tuple(file: "h5py.File", name: str) -> list[np.ndarray]:
    """The observations ``name``, or those of a tuple: ``name_0``, ``name_1``, ..."""
    single = _array(file, name)
    parts: list[np.ndarray] = [] if single is None else [single]
    while single is None and (part := _array(file, f"{name}_{len(parts)}")) is not None:
        parts.append(part)
    return [part[:, None] if part.ndim == 1 else part for part in parts if part.ndim]


def _array(file: "h5py.File", name: str) -> np.ndarray | None:
    import h5py

    dataset = find(file, name)
    return read_all(dataset) if isinstance(dataset, h5py.Dataset) else None
