"""The observations of an episode's group in HDF5: a dataset, or a group of vectors and images at any depth."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.episode import Remarks
from pipeline.envs.registration import CHANNELS, SIDES
from pipeline.ingest.sources.episode_parts import feature_names
from pipeline.ingest.sources.hdf5_file import find, own_names, read_all
from pipeline.validation import did_you_mean

if TYPE_CHECKING:
    import h5py


class Observations:
    """Which datasets below ``key`` are read, chosen by an episode of ``steps`` steps that messages call ``place``.

    Vectors become one vector ``state`` if ``concatenate`` is set; otherwise they are named by their path, with dots.
    Images always are. Raises ValueError if nothing is left, and for ``chosen`` paths that do not exist or do not fit.
    """

    def __init__(
        self, key: str, chosen: list[str], concatenate: bool, group: "h5py.Group", place: str, steps: int
    ) -> None:
        self.key = key
        self.mismatched = 0  # next observations that differ from the observation of the next row
        datasets = dict(_datasets(group, key, place))
        for path in chosen:
            if path not in datasets:
                raise ValueError(f"{place}: no `{key}/{path}`{did_you_mean(path, datasets)}; set `dataset.obs_keys`")
        fitting = {path: dataset for path, dataset in datasets.items() if _fits(dataset, steps)}
        self.paths = chosen or list(fitting)
        unfit = {path: list(datasets[path].shape or ()) for path in chosen or datasets if path not in fitting}
        odd = ", ".join(f"`{path or key}` {shape}" for path, shape in unfit.items())
        kinds = f"vectors of {steps} or {steps + 1} rows, or square images of {SIDES[0]} to {SIDES[-1]} pixels"
        if not self.paths or (chosen and unfit):
            fix = "set `dataset.obs_key` or `dataset.obs_keys`"
            raise ValueError(f"{place}: observations {odd or f'`{key}`'} are not {kinds}; {fix}")
        self.warnings = [f"observations that are not {kinds} are left out: {odd}"] if unfit else []
        self.shapes = shapes = {path: datasets[path].shape[1:] for path in self.paths}
        vectors = [path for path in self.paths if len(shapes[path]) < 2]
        self.joined = vectors if concatenate or vectors == [""] else []
        widths = {path.replace("/", "."): int(np.prod(shapes[path])) for path in self.joined if path}
        self.features = feature_names({}, widths)  # empty where the vector is a dataset of its own
        self.row_bytes = sum(int(np.prod(shape)) * (4 if len(shape) < 2 else 1) for shape in shapes.values())

    def read(self, group: "h5py.Group", next_key: str | None, place: str, steps: int) -> dict[str, np.ndarray]:
        """Observations "T+1 ..." by name, or "T ..." where the final one is unknown.

        ``next_key`` is the dataset or group of next observations. Raises ValueError for missing datasets.
        """
        arrays = {path: self._rows(group, path, next_key, place, steps) for path in self.paths}
        obs = {_name(path, arrays[path]): arrays[path] for path in self.paths if path not in self.joined}
        if self.joined:
            rows = min(len(arrays[path]) for path in self.joined)
            obs["state"] = np.concatenate([arrays[path][:rows] for path in self.joined], axis=1)
        return obs

    def report(self, remarks: Remarks) -> None:
        """Add what reading has shown to ``remarks``."""
        if self.mismatched:
            problem = f"{self.mismatched} next observations are not the observation of the next row"
            remarks.warnings.append(f"{problem}: only the last one of each episode is used")

    def _rows(self, group: "h5py.Group", path: str, next_key: str | None, place: str, steps: int) -> np.ndarray:
        array = _array(group, self.key, path, place)
        if len(array) not in (steps, steps + 1):
            problem = f"`{self.key}/{path}` has {len(array)} rows, expected {steps} as actions, or one more"
            raise ValueError(f"{place}: {problem}; correct the log, or leave it out in `dataset.obs_keys`")
        if array.shape[1:] != (self.shapes[path] or (1,)):
            problem = f"`{self.key}/{path}` has shape {list(array.shape)}, but {list(self.shapes[path])} per step"
            raise ValueError(f"{place}: {problem} in the first episode; correct the log, or set `dataset.obs_keys`")
        if len(array) > steps or next_key is None or find(group, next_key) is None:
            return array
        after = _array(group, next_key, path, place)
        if after.shape != array.shape:
            problem = f"`{next_key}/{path}` has shape {list(after.shape)}, expected {list(array.shape)}"
            raise ValueError(f"{place}: {problem} as in `{self.key}`; correct it, or set `dataset.next_obs_key: null`")
        same = np.isclose(after[:-1], array[1:], rtol=1e-5, atol=1e-6, equal_nan=True)
        self.mismatched += int((~same.reshape(steps - 1, -1).all(axis=1)).sum())
        return np.concatenate([array, after[-1:]])


def _datasets(group: "h5py.Group", key: str, place: str) -> Iterator[tuple[str, "h5py.Dataset"]]:
    """Path and dataset of each observation below ``key``; the path is empty if it is a dataset itself."""
    import h5py

    member = find(group, key)
    if member is None:
        hint = did_you_mean(key, own_names(group))
        raise ValueError(f"{place}: no `{key}`{hint}; set `dataset.obs_key` to the path of the observations")
    if isinstance(member, h5py.Dataset):
        yield "", member
        return
    groups, pending = {member}, [("", member)]  # each group once, as one may lie in itself
    while pending:
        prefix, outer = pending.pop(0)
        for name in own_names(outer):
            inner = find(outer, name)
            if isinstance(inner, h5py.Dataset):
                yield f"{prefix}{name}", inner
            elif inner not in groups:
                groups.add(inner)
                pending.append((f"{prefix}{name}/", inner))


def _fits(dataset: "h5py.Dataset", steps: int) -> bool:
    """Whether a dataset is a vector with features, or an image that a prepared dataset may hold."""
    shape = dataset.shape
    if not shape or shape[0] not in (steps, steps + 1):
        return False
    if dataset.ndim < 3:
        return dataset.dtype.kind in "fiub" and 0 not in shape[1:]
    square = dataset.ndim == 4 and shape[1] == shape[2] and shape[1] in SIDES and shape[3] in CHANNELS
    return square and dataset.dtype == np.uint8


def _array(group: "h5py.Group", key: str, path: str, place: str) -> np.ndarray:
    import h5py

    dataset = find(group, f"{key}/{path}")
    if not isinstance(dataset, h5py.Dataset):
        problem = f"no `{key}/{path}`, which the first episode has"
        raise ValueError(f"{place}: {problem}; repair the log, or leave it out in `dataset.obs_keys`")
    if not dataset.shape or dataset.dtype.kind not in "fiub":
        what = f"{dataset.dtype} of shape {list(dataset.shape or ())}"
        raise ValueError(f"{place}: `{key}/{path}` holds {what}, expected numbers, one row per step; correct the log")
    array = read_all(dataset)
    return array[:, None] if array.ndim == 1 else array


def _name(path: str, array: np.ndarray) -> str:
    return path.replace("/", ".") or ("state" if array.ndim == 2 else "pixels")
