"""Guess the layout of a log, and the block of params.yaml that reads it, from the names of its columns."""

import json
from pathlib import Path

from pipeline.cli.column_names import FLAT_NAMES, match_names
from pipeline.cli.guess import Guess, head
from pipeline.cli.table_guess import guess_table
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.flat import Columns, FlatConfig
from pipeline.ingest.sources.npz import read_npz
from pipeline.ingest.sources.stored import is_wide
from pipeline.ingest.sources.text_stream import PARQUET, TEXT, is_table
from pipeline.params import choose

SUFFIXES = {"hdf5": (".hdf5", ".h5", ".hdf"), "npz": (".npz",), "table": (*TEXT, *PARQUET)}


def guess_layout(path: Path, options: dict[str, object]) -> Guess:
    """The guess for a file or folder, read with the given ``options`` of the source.

    Raises ValueError for unknown formats and for unknown names of columns.
    """
    if not path.exists():
        raise ValueError(f"{path}: not found; name a log file or a Minari folder")
    if (path.name == "main_data.hdf5" or path.is_dir()) and (minari := _minari_guess(path)):
        return minari
    if path.is_dir() or is_table(path):
        return guess_table(path, options)
    if path.name.endswith(SUFFIXES["hdf5"]):
        return _flat_guess(path, "hdf5")
    if path.name.endswith(SUFFIXES["npz"]):
        return _flat_guess(path, "npz")
    suffixes = ", ".join(suffix for group in SUFFIXES.values() for suffix in group)
    fix = f"use {suffixes} or a Minari folder, or write a function (`source: callable`)"
    raise ValueError(f"{path}: unknown layout; {fix}")


def _flat_guess(path: Path, kind: str) -> Guess:
    columns, defaults, source = _flat_columns(path, kind)
    by_key = match_names(columns.names, FLAT_NAMES)
    for key in ("obs_key", "action_key", "reward_key"):
        if by_key[key] is None:
            names = ", ".join(columns.names) or "none"
            raise ValueError(f"{path}: no column looks like `{key}` (columns: {names}); set `dataset.{key}` by hand")
    guess = head(path, source)
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
