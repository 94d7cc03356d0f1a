"""Minari's layouts on disk: HDF5, Arrow and Parquet since Minari 0.5, and HDF5 with attributes of Minari 0.4."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space
from minari.dataset._storages import get_minari_storage
from minari.dataset._storages.arrow_storage import ArrowStorage, ParquetStorage, _decode_space
from minari.dataset._storages.hdf5_storage import HDF5Storage
from minari.dataset.minari_storage import MinariStorage
from minari.serialization import deserialize_space

from pipeline.envs.rebuilt import parse_spec, rebuild

METADATA = "metadata.json"  # of Minari since 0.5; before, the metadata are attributes of the HDF5 file


class UnknownError(ValueError):
    """A dataset that is not damaged, but that cannot be read here; the message says what to do."""


@dataclass(frozen=True)
class MinariFiles:
    """A dataset on disk: what reads its episodes, and its metadata, in which an EnvSpec that cannot be read is left
    out."""

    storage: MinariStorage
    metadata: Mapping[str, Any]
    id: str
    episodes: int  # number of episodes
    steps: int  # number of steps
    env_spec: EnvSpec | None
    warnings: list[str]


class _Tables(ArrowStorage):
    """Arrow files, each episode whole: Minari itself reads only the first 131,072 rows of one, and always takes the
    last row for padding."""

    def get_episodes(self, episode_indices: Iterable[int]) -> Iterator[dict[str, Any]]:
        """As in Minari, with the infos as they are stored."""
        for index in episode_indices:
            folder, hidden = self.data_path / str(index), ["_", ".", "metadata.json"]
            table = ds.dataset(str(folder), format=self.FORMAT, ignore_prefixes=hidden).to_table()
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            (episode,) = self.get_episode_metadata([index])
            names = ("actions", "rewards", "terminations", "truncations")
            steps = {name: columns[name][: episode["total_steps"]] for name in names}
            yield {
                "id": index,
                "observations": _decode_space(self.observation_space, columns["observations"], self.jpeg_encoding),
                "actions": _decode_space(self.action_space, steps.pop("actions"), self.jpeg_encoding),
                **{name: np.asarray(values) for name, values in steps.items()},
                "infos": columns.get("infos"),
            }


class _ParquetTables(_Tables):
    FORMAT = ParquetStorage.FORMAT


def read_files(folder: Path) -> MinariFiles:
    """The dataset in a data folder. Raises UnknownError for versions and spaces that cannot be read, and the errors of
    damaged files."""
    current = (folder / METADATA).exists()
    metadata = json.loads((folder / METADATA).read_text()) if current else attributes(folder)
    if current and (version := metadata.get("minari_version")) not in minari.supported_dataset_versions:
        fix = "update it with `pip install -U minari`"
        raise UnknownError(f"written by Minari {version}, and {minari.__version__} is installed; {fix}")
    try:
        spec, warnings = parse_spec(metadata["env_spec"]) if metadata.get("env_spec") else None, []
    except ValueError as error:
        spec, warnings = None, [f"the log's environment is {error}: set `dataset.env_id` if there is one"]
    tables = {ArrowStorage.FORMAT: _Tables, ParquetStorage.FORMAT: _ParquetTables}
    form = metadata["data_format"] if current else HDF5Storage.FORMAT
    kind = tables.get(form) or get_minari_storage(form)
    jpeg = current and bool(metadata.get("jpeg_encoding", True))
    storage = kind(folder, *_spaces(metadata, spec), jpeg_encoding=jpeg)
    episodes, steps = int(metadata["total_episodes"]), int(metadata.get("total_steps", 0))
    return MinariFiles(storage, metadata, str(metadata["dataset_id"]), episodes, steps, spec, warnings)


def attributes(folder: Path) -> dict[str, Any]:
    """The attributes of ``main_data.hdf5``, numbers as Python's own. Raises OSError for a damaged file."""
    with h5py.File(folder / "main_data.hdf5", "r") as file:
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in file.attrs.items()}


def has_attributes(folder: Path) -> bool:
    """Whether ``folder`` holds a dataset of Minari 0.4."""
    try:
        return {"total_episodes", "dataset_id"} <= set(attributes(folder))
    except OSError:
        return False


def info_array(infos: Any, path: str) -> np.ndarray:
    """The array at ``path``, names divided by ``/``, in the infos of an episode. Raises KeyError if it is missing."""
    for key in path.split("/"):
        if infos is None or key not in (infos if isinstance(infos, Mapping) else {f.name for f in infos.type}):
            raise KeyError(path)
        infos = infos[key] if isinstance(infos, Mapping) else infos.field(key)
    flat = infos.flatten() if isinstance(infos, pa.FixedSizeListArray) else infos
    return np.asarray(flat)


def _spaces(metadata: Mapping[str, Any], spec: EnvSpec | None) -> list[Space[Any]]:
    """Observation and action space; where the metadata lack one, that of the environment."""
    names = ("observation_space", "action_space")
    if all(name in metadata for name in names):
        try:
            return [deserialize_space(json.loads(metadata[name])) for name in names]
        except (TypeError, NotImplementedError):  # Minari's error for an unknown space depends on the first call
            fix = "store it with spaces of other kinds"
            raise UnknownError(f"has a space of a kind that Minari cannot read; {fix}") from None
    if spec is None:
        raise UnknownError("its metadata lack the spaces of observations and actions; restore them from its source")
    try:
        env = rebuild(spec)
    except Exception as error:  # constructors of environments may raise anything
        reason = " ".join(str(error).split())
        raise UnknownError(f"its spaces are those of its environment: {reason}; install its package") from None
    env.close()
    return [env.observation_space, env.action_space]
