"""The arrays of a prepared dataset, read back and compared with their description."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from pipeline.data.spec import AGAIN, SCHEMA_VERSION, DatasetSpec

VERIFIED = 1 << 30  # bytes of arrays, about a second, up to which reading compares their digest
SPANS = "spans"  # the array that logs without times do not have


def read_arrays(folder: Path, spec: DatasetSpec) -> dict[str, np.ndarray]:
    """The arrays in ``folder`` by name, memory-mapped.

    Raises ValueError where one is missing or truncated, or has another shape or type than ``spec`` says, where episodes
    do not follow each other, and, of at most ``VERIFIED`` bytes, where the digest is another. Larger arrays are not
    read here: DVC compares theirs when a file has changed.
    """
    expected = _expected(spec)
    if (folder / f"{SPANS}.npy").exists():
        expected[SPANS] = (np.float64, (spec.episodes, 2))
    arrays = {name: _load(folder / f"{name}.npy") for name in expected}
    for name, array in arrays.items():
        _check(folder / f"{name}.npy", array, *expected[name])
    _check_offsets(folder / "offsets.npy", arrays["offsets"], spec)
    size = sum(file.stat().st_size for file in folder.glob("*.npy"))
    if size <= VERIFIED and array_digest(folder, spec.obs_names, spec.action_low, spec.action_high) != spec.digest:
        raise ValueError(f"{folder}: its arrays do not have the digest in spec.json, so one is damaged; {AGAIN}")
    return arrays


def array_digest(folder: Path, names: Mapping[str, list[str]], low: list[float], high: list[float]) -> str:
    """32 hex digits of the array files, and of the names and the bounds of actions that their meaning depends on."""
    metadata = json.dumps([SCHEMA_VERSION, names, low, high], sort_keys=True)
    digest = hashlib.blake2b(metadata.encode(), digest_size=16)
    for file in sorted(folder.glob("*.npy")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _expected(spec: DatasetSpec) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    """Type and shape of each array by name."""
    rows = spec.transitions + spec.episodes
    kinds = {key: np.uint8 if len(shape) == 3 else np.float32 for key, shape in spec.obs_shapes.items()}
    return {
        **{f"obs.{key}": (kinds[key], (rows, *shape)) for key, shape in spec.obs_shapes.items()},
        "action": (np.float32, (rows, spec.action_dim)),
        "reward": (np.float32, (rows,)),
        "terminal": (np.bool_, (rows,)),
        "offsets": (np.int64, (spec.episodes + 1,)),
        "held_out": (np.bool_, (spec.episodes,)),
    }


def _load(file: Path) -> np.ndarray:
    if not file.is_file():  # a pipe would never end
        raise ValueError(f"{file}: missing; {AGAIN}")
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception:  # a damaged header can raise anything
        raise ValueError(f"{file}: truncated or corrupt; {AGAIN}") from None


def _check(file: Path, array: np.ndarray, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    if array.shape[:1] != shape[:1]:
        raise ValueError(f"{file}: {len(array) if array.ndim else 0} rows, expected {shape[0]}; {AGAIN}")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{file}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}; {AGAIN}")


def _check_offsets(file: Path, offsets: np.ndarray, spec: DatasetSpec) -> None:
    """Raises ValueError unless the episodes fill all rows one after the other, each with a step at least."""
    if offsets[0] != 0 or offsets[-1] != spec.transitions + spec.episodes or (np.diff(offsets) < 2).any():
        raise ValueError(f"{file}: the episodes do not follow each other; {AGAIN}")
