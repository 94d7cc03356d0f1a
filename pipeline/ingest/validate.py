"""Checks on logs. Defects raise ValueError naming the file, the place and the fix; what is merely odd is told by
:mod:`pipeline.ingest.checks`."""

import hashlib
import shutil
from pathlib import Path

import numpy as np

from pipeline.data.episode import Episode
from pipeline.envs.registration import SIDES
from pipeline.params import did_you_mean

BOUND_TOLERANCE = 1e-4  # share of the range: float32 rounding of a declared bound is no defect


def arrays_of(episode: Episode) -> dict[str, np.ndarray]:
    """Every array of an episode by the name that messages use."""
    obs = {f"obs {key}": value for key, value in episode.obs.items()}
    return {**obs, "action": episode.action, "reward": episode.reward}


def check_column(place: str, name: str, columns: list[str], param: str) -> None:
    """Raises ValueError when a file lacks a column; ``param`` is the key of params.yaml that names it."""
    if name not in columns:
        none = ", or to null where no episode truly ends" if param.startswith("terminal") else ""
        hint = did_you_mean(name, columns)
        raise ValueError(f"{place}: no column `{name}`{hint}; set `dataset.{param}` to its name{none}")


def check_episode(place: str, index: int, episode: Episode, first: Episode) -> None:
    """Shapes, dtypes and agreement with the first episode. Raises ValueError."""
    where = f"{place}: episode {index}"
    steps = len(episode.action)
    if steps == 0:
        raise ValueError(f"{where}: empty (0 steps); remove it from the log")
    for name, array in arrays_of(episode).items():
        _check_array(where, name, array, steps + 1 if name.startswith("obs ") else steps)
    if episode.reward.ndim != 1:
        raise ValueError(f"{where}, reward: shape {list(episode.reward.shape)}, expected one number a step")
    if set(episode.obs) != set(first.obs):
        raise ValueError(f"{where}: observation keys {sorted(episode.obs)}, but episode 0 has {sorted(first.obs)}")
    for name, array in arrays_of(episode).items():
        expected = arrays_of(first)[name].shape[1:]
        if array.shape[1:] != expected:
            shapes = f"{list(array.shape[1:])} a step, but episode 0 has {list(expected)}"
            raise ValueError(f"{where}, {name}: shape {shapes}; fix the log")


def check_column_kind(place: str, name: str, column: np.ndarray) -> None:
    """Raises ValueError for anything but numbers, one or one vector a row."""
    if column.dtype.kind not in "fiub":
        raise ValueError(f"{place}: `{name}` has dtype {column.dtype}, expected numbers; convert it to float32")
    if column.ndim > 2:
        raise ValueError(
            f"{place}: `{name}` is {list(column.shape)}, expected [rows, features]; images are not supported yet in "
            "flat logs: store them as a Minari dataset"
        )


def check_image(where: str, shape: tuple[int, ...], dtype: np.dtype) -> None:  # type: ignore[type-arg]
    """Raises ValueError unless an observation of shape [H, W, C] is a square uint8 image of a size that is stored."""
    if len(shape) != 3 or shape[2] not in (1, 3):
        fix = "store [side, side, channels] with 1 or 3 channels"
        raise ValueError(f"{where}: shape {list(shape)} a step is neither a vector nor an image; {fix}")
    if dtype != np.uint8:
        raise ValueError(f"{where}: images have dtype {dtype}; store them as uint8 from 0 to 255")
    if shape[0] != shape[1] or shape[0] not in SIDES:
        sides = f"{SIDES[0]} to {SIDES[-1]} pixels a side"
        raise ValueError(f"{where}: images of {shape[0]} x {shape[1]} pixels; resize them to a square of {sides}")


def _check_array(where: str, name: str, array: np.ndarray, rows: int) -> None:
    if name.startswith("obs ") and array.ndim > 2:
        check_image(f"{where}, {name}", array.shape[1:], array.dtype)
    else:
        check_column_kind(where, name, array)
    if len(array) != rows:
        raise ValueError(f"{where}, {name}: {len(array)} rows, expected {rows} (one more observation than actions)")
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError(f"{where}, {name}: no features; leave it out, or name another column")
    if array.ndim == 1 and name != "reward":
        raise ValueError(f"{where}, {name}: shape {list(array.shape)}, expected [rows, features]")


def check_finite(place: str, index: int, episode: Episode) -> None:
    """Raises ValueError at the first value that is NaN or infinite, or does not fit float32."""
    for name, array in arrays_of(episode).items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():  # images are whole numbers
            at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            value = array[tuple(at)]
            raise ValueError(f"{place}: episode {index}, {name}{at}: {value}; repair or remove the episode")


def check_bounds(place: str, index: int, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Raises ValueError at the first action outside the declared bounds ("T A" against "A")."""
    slack = BOUND_TOLERANCE * (high - low) + 1e-6 * np.maximum(abs(low), abs(high))
    outside = (action < low - slack) | (action > high + slack)
    if outside.any():
        t, a = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{place}: episode {index}, action[{t}, {a}] = {action[t, a]:g} lies outside the declared bounds "
            f"[{low[a]:g}, {high[a]:g}]; correct `dataset.action_low` and `dataset.action_high`"
        )


def check_numbers(place: str, index: int, action: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Raises ValueError unless discrete actions "T 1" are whole numbers within the declared ``bounds``, "1" each."""
    where = f"{place}: episode {index}, action"
    if action.shape[1] != 1:
        raise ValueError(f"{where}: {action.shape[1]} numbers a step; a discrete action is one whole number")
    number = action[:, 0]
    if (broken := number != np.round(number)).any():
        t = int(np.argmax(broken))
        fix = "`dataset.action_kind: continuous`, or repair the log"
        raise ValueError(f"{where}[{t}] = {number[t]:g} is no whole number, so not discrete; set {fix}")
    low, high = (number.min(), number.max()) if bounds is None else (bounds[0][0], bounds[1][0])
    if (outside := (number < low) | (number > high)).any():
        t = int(np.argmax(outside))
        raise ValueError(f"{where}[{t}] = {number[t]:g} is none of {low:g} to {high:g}; correct `dataset.action_count`")


def check_action_range(place: str, low: list[float] | None, high: list[float] | None, action_dim: int) -> None:
    """Raises ValueError for bounds that are incomplete, of the wrong length, infinite or empty."""
    if low is None or high is None:
        raise ValueError(f"{place}: give both `dataset.action_low` and `dataset.action_high`, or neither")
    if len(low) != action_dim or len(high) != action_dim:
        raise ValueError(f"{place}: {len(low)} and {len(high)} action bounds for {action_dim} actions; give one each")
    for a, (lower, upper) in enumerate(zip(low, high, strict=True)):
        if not (np.isfinite([lower, upper]).all() and lower < upper):
            raise ValueError(
                f"{place}: action {a} has bounds [{lower:g}, {upper:g}]; set finite `dataset.action_low` < "
                "`dataset.action_high`"
            )


def check_quantiles(place: str, low: np.ndarray, high: np.ndarray) -> None:
    """Raises ValueError where the quantiles of an action ("A" each) leave it no room."""
    if (still := low >= high).any():
        a = int(np.argmax(still))
        raise ValueError(
            f"{place}: action {a} is {low[a]:g} at both quantiles; lower `dataset.action_quantile`, or null"
        )


def check_disk(folder: Path, needed: int) -> None:
    """Raises ValueError when the file system of ``folder`` lacks ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(f"{folder}: needs {needed >> 20} MiB, {free >> 20} MiB are free; make room and run again")


def content_hash(episode: Episode) -> bytes:
    """Equal for episodes that are exact copies of each other."""
    digest = hashlib.blake2b(digest_size=16)
    for _, array in sorted(arrays_of(episode).items()):
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
