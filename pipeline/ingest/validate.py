"""Validation of logs: defects raise a ValueError that names the file, the place and the fix.

Unusual but valid logs are reported by :mod:`pipeline.ingest.checks` instead.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.episode import Episode
from pipeline.envs.registration import CHANNELS, SIDES
from pipeline.validation import did_you_mean
from pipeline.validation.stored import is_plain

BOUND_TOLERANCE = 1e-4  # share of the range: allows for float32 rounding of a declared bound


def arrays_of(episode: Episode) -> dict[str, np.ndarray]:
    """Every array of an episode by the name that messages give it."""
    obs = {f"obs {key}": value for key, value in episode.obs.items()}
    cost = {} if episode.cost is None else {"cost": episode.cost}
    return {**obs, "action": episode.action, "reward": episode.reward, **cost}


def check_column(place: str, name: str, columns: list[str], param: str) -> None:
    """Raises ValueError if a file lacks a column; ``param`` is the key of params.yaml that names it."""
    if name not in columns:
        if len(columns) == 1 and name in re.split(r"\W+", columns[0]):
            raise ValueError(f"{place}: the only column is `{columns[0]}`; correct `dataset.delimiter`")
        or_null = ", or to null if no episode terminates" if param.startswith("terminal") else ""
        hint = did_you_mean(name, columns)
        raise ValueError(f"{place}: no column `{name}`{hint}; set `dataset.{param}` to its name{or_null}")


def check_episode(place: str, index: int, episode: Episode, first: Episode) -> None:
    """Check shapes and dtypes, and that they agree with the first episode. Raises ValueError."""
    where = f"{place}: episode {index}"
    steps = len(episode.action)
    if steps == 0:
        raise ValueError(f"{where}: empty (0 steps); remove it from the log")
    for key in episode.obs:
        if not is_plain(key):
            raise ValueError(f"{where}: observation {key!r} would name a file: call it by a name without / and \\")
    for name, array in arrays_of(episode).items():
        _check_array(where, name, array, steps + 1 if name.startswith("obs ") else steps)
    if episode.reward.ndim != 1:
        shape = list(episode.reward.shape)
        raise ValueError(f"{where}, reward: shape {shape}, expected [steps]; log one number per step")
    if set(episode.obs) != set(first.obs):
        keys = f"observation keys {sorted(episode.obs)}, but episode 0 has {sorted(first.obs)}"
        raise ValueError(f"{where}: {keys}; log the same keys in every episode")
    for name, array in arrays_of(episode).items():
        expected = arrays_of(first)[name].shape[1:]
        if array.shape[1:] != expected:
            shapes = f"{list(array.shape[1:])} per step, but episode 0 has {list(expected)}"
            raise ValueError(f"{where}, {name}: shape {shapes}; log all episodes with the same shape")


def check_column_kind(place: str, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Raises ValueError unless a column holds numbers, "N" or "N F"."""
    if dtype.kind not in "fiub":
        raise ValueError(f"{place}: `{name}` has dtype {dtype}, expected numbers; convert it to float32")
    if len(shape) > 2:
        raise ValueError(
            f"{place}: `{name}` has shape {list(shape)}, expected [rows, features]; images are not supported in "
            "flat logs: store them as a Minari dataset"
        )


def check_image(where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raises ValueError unless an observation of shape [H, W, C] is a square uint8 image of a supported size."""
    if len(shape) != 3 or shape[2] not in CHANNELS:
        fix = f"store [side, side, channels] with 1 to {CHANNELS[-1]} channels"
        raise ValueError(f"{where}: shape {list(shape)} per step is neither a vector nor an image; {fix}")
    if dtype != np.uint8:
        raise ValueError(f"{where}: images have dtype {dtype}; store them as uint8 from 0 to 255")
    if shape[0] != shape[1] or shape[0] not in SIDES:
        sides = f"{SIDES[0]} to {SIDES[-1]} pixels"
        raise ValueError(f"{where}: images of {shape[0]} x {shape[1]} pixels; resize them to squares of {sides}")


def _check_array(where: str, name: str, array: np.ndarray, rows: int) -> None:
    if name.startswith("obs ") and array.ndim > 2:
        check_image(f"{where}, {name}", array.shape[1:], array.dtype)
    else:
        check_column_kind(where, name, array.dtype, array.shape)
    if len(array) != rows:
        expected = f"expected {rows} (one more observation than actions)"
        raise ValueError(f"{where}, {name}: {len(array)} rows, {expected}; correct the log")
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError(f"{where}, {name}: no features; remove it, or name another column")
    if array.ndim == 1 and name != "reward":
        raise ValueError(f"{where}, {name}: shape {list(array.shape)}, expected [rows, features]; add the second axis")


def check_finite(place: str, index: int, episode: Episode) -> None:
    """Raises ValueError at the first value that is NaN, infinite, or too large for float32."""
    for name, array in arrays_of(episode).items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():  # images are integers
            position = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            value = array[tuple(position)]
            raise ValueError(f"{place}: episode {index}, {name}{position}: {value}; repair or remove the episode")


def check_bounds(place: str, index: int, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Raises ValueError at the first of the actions "T A" outside the declared bounds "A"."""
    slack = BOUND_TOLERANCE * (high - low) + 1e-6 * np.maximum(abs(low), abs(high))
    outside = (action < low - slack) | (action > high + slack)
    if outside.any():
        t, a = (int(i) for i in np.argwhere(outside)[0])
        raise ValueError(
            f"{place}: episode {index}, action[{t}, {a}] = {action[t, a]:g} lies outside the declared bounds "
            f"[{low[a]:g}, {high[a]:g}]; correct `dataset.action_low` and `dataset.action_high`"
        )


def check_discrete(place: str, index: int, action: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Raises ValueError unless discrete actions "T 1" are integers within the declared ``bounds``, "1" each."""
    where = f"{place}: episode {index}, action"
    if action.shape[1] != 1:
        fix = "log one integer, or set `dataset.action_kind: continuous`"
        raise ValueError(f"{where}: {action.shape[1]} numbers per step, but a discrete action is one integer; {fix}")
    number = action[:, 0]
    if (fractional := number != np.round(number)).any():
        t = int(np.argmax(fractional))
        fix = "set `dataset.action_kind: continuous`, or repair the log"
        raise ValueError(f"{where}[{t}] = {number[t]:g} is not an integer, so not discrete; {fix}")
    low, high = (number.min(), number.max()) if bounds is None else (bounds[0][0], bounds[1][0])
    if (outside := (number < low) | (number > high)).any():
        t = int(np.argmax(outside))
        raise ValueError(f"{where}[{t}] = {number[t]:g} is not in {low:g} to {high:g}; correct `dataset.action_count`")


def check_action_range(place: str, low: list[float] | None, high: list[float] | None, action_dim: int) -> None:
    """Raises ValueError for bounds that are incomplete, have the wrong length, are infinite or leave no range."""
    if low is None or high is None:
        fix = "set both `dataset.action_low` and `dataset.action_high`, or neither"
        raise ValueError(f"{place}: one of the action bounds is missing; {fix}")
    if len(low) != action_dim or len(high) != action_dim:
        fix = "set one for each action"
        raise ValueError(f"{place}: {len(low)} and {len(high)} action bounds for {action_dim} actions; {fix}")
    for a, (lower, upper) in enumerate(zip(low, high, strict=True)):
        if not (np.isfinite([lower, upper]).all() and lower < upper):
            raise ValueError(
                f"{place}: action {a} has bounds [{lower:g}, {upper:g}]; set finite `dataset.action_low` < "
                "`dataset.action_high`"
            )


def check_quantiles(place: str, low: np.ndarray, high: np.ndarray) -> None:
    """Raises ValueError if the low and the high quantile of an action ("A" each) are equal."""
    if (equal := low >= high).any():
        a = int(np.argmax(equal))
        fix = "lower `dataset.action_quantile` or set it to null"
        raise ValueError(f"{place}: action {a} is {low[a]:g} at both quantiles; {fix}")


def check_memory(place: str, needed: int) -> None:
    """Raises ValueError if an array of ``needed`` bytes does not fit into the memory that is free."""
    import psutil  # `make bench` runs without it

    free = psutil.virtual_memory().available
    if needed > free:
        space = f"needs {needed >> 20} MiB of memory, but {free >> 20} MiB are free"
        raise ValueError(f"{place}: {space}; use a machine with more memory, or repair the file if it holds less")


def check_disk(folder: Path, needed: int) -> None:
    """Raises ValueError if fewer than ``needed`` bytes are free on the file system of ``folder``."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        space = f"needs {needed >> 20} MiB, but {free >> 20} MiB are free"
        raise ValueError(f"{folder}: {space}; free disk space and run again")
