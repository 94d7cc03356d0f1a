"""Guess the layout of a log, and the block of params.yaml that reads it, from the names of its columns."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.flat import Columns, FlatConfig
from pipeline.ingest.sources.npz import read_npz
from pipeline.ingest.sources.stored import is_wide
from pipeline.ingest.sources.table_files import table_files
from pipeline.ingest.sources.text_stream import PARQUET, TEXT, is_table
from pipeline.params import choose

FLAT_NAMES = {
    "obs_key": ("observations", "observation", "obs", "states", "state"),
    "action_key": ("actions", "action", "acts"),
    "reward_key": ("rewards", "reward", "rew"),
    "terminal_key": ("terminals", "terminal", "terminations", "terminated", "dones", "done"),
    "timeout_key": ("timeouts", "timeout", "truncations", "truncated", "truncateds", "episode_terminals"),
    "next_obs_key": ("next_observations", "next_observation", "next_obs", "next_states", "next_state"),
}
TABLE_NAMES = {
    "reward_column": ("reward", "rewards", "rew", "next.reward"),
    "terminal_column": ("terminal", "terminals", "terminated", "done", "dones", "next.done"),
    "timeout_column": ("timeout", "timeouts", "truncated", "next.truncated"),
    "episode_column": (
        *("episode", "episode_id", "episode_index", "ep", "trajectory", "trajectory_id", "traj", "run", "run_id"),
        *("batch", "batch_id", "trial", "trial_id", "session", "session_id", "patient", "patient_id"),
    ),
    "time_column": ("time", "timestamp", "datetime", "date", "time_s", "seconds", "t", "step", "frame_index"),
}
PREFIX = r"^({})s?([_.\[ -].*|\d+\]?)?$"
ACTION = re.compile(PREFIX.format("action|act|ctrl|control|cmd|command|setpoint|u|a"), re.IGNORECASE)
OBS = re.compile(PREFIX.format("observation|obs|state"), re.IGNORECASE)
SUFFIXES = {"hdf5": (".hdf5", ".h5", ".hdf"), "npz": (".npz",), "table": (*TEXT, *PARQUET)}


@dataclass
class Guess:
    """A guessed block of params.yaml."""

    block: dict[str, Any]
    unsure: dict[str, str] = field(default_factory=dict)  # key of the block -> why its value is uncertain
    undecided: list[str] = field(default_factory=list)  # keys that the user has to set
    columns: list[tuple[str, str, str]] = field(default_factory=list)  # name, shape, dtype


def guess_layout(path: Path) -> Guess:
    """The guess for a file or folder. Raises ValueError for unknown formats and for unknown names of columns."""
    if not path.exists():
        raise ValueError(f"{path}: not found; name a log file or a Minari folder")
    if (path.name == "main_data.hdf5" or path.is_dir()) and (minari := _minari_guess(path)):
        return minari
    if path.is_dir() or is_table(path):
        return _table_guess(path)
    if path.name.endswith(SUFFIXES["hdf5"]):
        return _flat_guess(path, "hdf5")
    if path.name.endswith(SUFFIXES["npz"]):
        return _flat_guess(path, "npz")
    suffixes = ", ".join(suffix for group in SUFFIXES.values() for suffix in group)
    fix = f"use {suffixes} or a Minari folder, or write a function (`source: callable`)"
    raise ValueError(f"{path}: unknown layout; {fix}")


def _head(path: Path, source: str) -> Guess:
    """The keys of every source; a file named ``val`` or ``test`` instead of ``train`` becomes the held-out split."""
    guess = Guess({"source": source, "name": path.stem or path.name, "path": str(path), "held_out_path": str(path)})
    for train, held_out in (("train", "val"), ("train", "valid"), ("train", "test")):
        other = path.with_name(path.name.replace(train, held_out))
        if other != path and other.exists():
            guess.block["held_out_path"] = str(other)
            guess.unsure["held_out_path"] = f"{other.name} is in the same folder; repeat `path` to split by episode"
            break
    return guess


def _match_names(names: Iterable[str], aliases: dict[str, tuple[str, ...]]) -> dict[str, str | None]:
    """For each key, the name that equals its first matching alias, ignoring case; None if there is none."""
    lower = {name.lower(): name for name in reversed(list(names))}
    return {key: next((lower[alias] for alias in group if alias in lower), None) for key, group in aliases.items()}


def _flat_guess(path: Path, kind: str) -> Guess:
    columns, defaults, source = _flat_columns(path, kind)
    by_key = _match_names(columns.names, FLAT_NAMES)
    for key in ("obs_key", "action_key", "reward_key"):
        if by_key[key] is None:
            names = ", ".join(columns.names) or "none"
            raise ValueError(f"{path}: no column looks like `{key}` (columns: {names}); set `dataset.{key}` by hand")
    guess = _head(path, source)
    guess.block |= {key: name for key, name in by_key.items() if name != getattr(defaults, key)}
    guess.columns = [(name, str(list(array.shape)), str(array.dtype)) for name, array in columns.arrays.items()]
    guess.unsure |= {key: "no such column" for key, name in by_key.items() if name is None and key in guess.block}
    action = columns.arrays[str(by_key["action_key"])]
    if action.dtype.kind in "iub":
        guess.block["action_kind"] = CONTINUOUS if is_wide(action.shape) else DISCRETE
        guess.unsure["action_kind"] = "actions are integers: discrete if they are choices, else continuous"
    if by_key["terminal_key"] and by_key["timeout_key"] and source != "d3rlpy_hdf5":
        keys = ("terminal_key", "timeout_key")
        terminal, timeout = (columns.arrays[str(by_key[key])][:].astype(bool) for key in keys)
        if (both := int((terminal & timeout).sum())) and both == int(timeout.sum()):
            guess.block["terminal_includes_timeouts"] = True
            reason = f"all {both} rows with `{by_key['timeout_key']}` also have `{by_key['terminal_key']}`"
            guess.unsure["terminal_includes_timeouts"] = f"{reason}, so they look like time limits"
    return guess


def _flat_columns(path: Path, kind: str) -> tuple[Columns, FlatConfig, str]:
    """The columns of the file, the default names of its source, and the name of the source."""
    from pipeline.ingest.sources import SOURCES

    wanted = {name for names in FLAT_NAMES.values() for name in names}
    columns = read_npz(path, wanted) if kind == "npz" else read_hdf5(path, wanted)
    source = "npz" if kind == "npz" else "d3rlpy_hdf5" if "episode_terminals" in columns.names else "d4rl_hdf5"
    defaults = choose(SOURCES, {"source": source, "path": "", "held_out_path": ""}, "dataset", key="source")[1]
    return columns, defaults, source


def _table_guess(path: Path) -> Guess:
    file = table_files(path)[0]
    names = file.names()
    single = _match_names(names, TABLE_NAMES)
    rest = [name for name in names if name not in single.values()]
    action = [name for name in rest if ACTION.match(name)]
    others = [name for name in rest if name not in action]
    obs = [name for name in others if OBS.match(name)] or others
    if not obs:
        fix = "add columns with observations"
        raise ValueError(f"{path}: no column is left for observations (columns: {', '.join(names)}); {fix}")
    guess = _head(path, "table")
    guess.block |= {"obs_columns": obs, "action_columns": action, **single}
    guess.unsure |= {
        "action_columns": "inferred from their names" if action else "no name looks like an action: list them here"
    }
    left = [name for name in others if name not in obs]
    guess.unsure["obs_columns"] = f"without {', '.join(left)}" if left else "all other columns"
    absent = {
        "reward_column": "no name looks like a reward: set it here, and remove it from obs_columns",
        "terminal_column": "no such column: no episode terminates",
        "episode_column": "no such column: each file is one episode",
        "time_column": "no such column: rows are in order and evenly spaced",
    }
    guess.unsure |= {key: text for key, text in absent.items() if single[key] is None}
    guess.undecided = [key for key in ("action_columns", "reward_column") if not guess.block[key]]
    guess.columns = [(name, f"[{file.rows() or 'N'}]", kind) for name, kind in file.kinds().items()]
    return guess


def _minari_guess(path: Path) -> Guess | None:
    """The guess for the Minari dataset at or below ``path``; None if there is none."""
    path = path.parent if path.name == "main_data.hdf5" else path
    nearest = [folder for folder in (path, path.parent) if (folder / "data/metadata.json").exists()]
    folders = nearest or sorted(file.parents[1] for file in path.glob("**/data/metadata.json"))
    if not folders:
        return None
    dataset_id = json.loads((folders[0] / "data/metadata.json").read_text())["dataset_id"]
    root = folders[0].resolve().parents[dataset_id.count("/")]
    if not path.is_absolute() and root.is_relative_to(Path.cwd()):
        root = root.relative_to(Path.cwd())
    guess = Guess({"source": "minari", "name": dataset_id, "dataset_id": dataset_id, "path": str(root)})
    guess.block["held_out_path"] = str(root)
    if len(folders) > 1:
        others = ", ".join(str(folder.relative_to(path)) for folder in folders[1:6])
        guess.unsure["dataset_id"] = f"one of {len(folders)}; others: {others}"
    return guess


def round_bounds(
    low: np.ndarray, high: np.ndarray, at_low: np.ndarray, at_high: np.ndarray
) -> tuple[list[float], list[float]]:
    """Bounds of each action, from its extremes "A" and their counts "A".

    An extreme that occurs at least three times is a bound. Otherwise the bounds are [-1, 1] if all values are within
    them, or else the extremes with two digits, rounded away from the data.
    """
    bounds = []
    for sign, extreme, count in ((-1, low, at_low), (1, high, at_high)):
        unit = 10.0 ** np.floor(np.log10(np.maximum(np.abs(extreme), 1e-300)) - 1)
        outward = sign * np.ceil(np.round(sign * extreme / unit, 6)) * unit
        inside = np.maximum(np.abs(low), np.abs(high)) <= 1
        bounds.append(np.where(count >= 3, extreme, np.where(inside, sign, outward)))
    constant = bounds[0] >= bounds[1]
    return [float(f"{b:.7g}") for b in bounds[0] - constant], [float(f"{b:.7g}") for b in bounds[1] + constant]
