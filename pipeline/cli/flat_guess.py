"""Guess the block of params.yaml that reads arrays: HDF5, npz, groups of HDF5, and LeRobot datasets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.column_names import FLAT_NAMES, match_name, match_names
from pipeline.cli.guess import Guess, ask_for_reward, head
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.array_files import array_files
from pipeline.ingest.sources.d4rl_hdf5 import read_hdf5
from pipeline.ingest.sources.flat import Columns
from pipeline.ingest.sources.flat_config import FlatConfig
from pipeline.ingest.sources.hdf5_file import open_hdf5, own_names
from pipeline.ingest.sources.npz import read_npz
from pipeline.ingest.sources.stored import is_wide
from pipeline.params import choose

if TYPE_CHECKING:
    import h5py

HDF5 = (".hdf5", ".h5", ".hdf")
NPZ = (".npz", ".npy")
OPTIONAL = ("mask_key", "episode_key")  # keys whose default is null
DEEPEST = 8  # groups within groups


def guess_flat(path: Path, kind: str) -> Guess:
    """The guess for a file with one array a column. Raises ValueError for unknown names of columns."""
    columns, defaults, source = _flat_columns(path, kind)
    by_key = match_names(columns.names, FLAT_NAMES)
    for key in ("obs_key", "action_key"):
        if by_key[key] is None:
            names = ", ".join(columns.names) or "none"
            raise ValueError(f"{path}: no column looks like `{key}` (columns: {names}); set `dataset.{key}` by hand")
    if by_key["reward_key"] is None:
        names = ", ".join(columns.names)
        raise ValueError(f"{path}: no column looks like `reward_key` (columns: {names}); set `dataset.reward_key`")
    guess = head(path, source)
    guess.block |= {key: name for key, name in by_key.items() if name != getattr(defaults, key)}
    guess.columns = [(name, str(list(array.shape)), str(array.dtype)) for name, array in columns.arrays.items()]
    guess.unsure |= {key: "no such column" for key, name in by_key.items() if name is None and key in guess.block}
    _check_integers(guess, columns.arrays[str(by_key["action_key"])])
    if by_key["terminal_key"] and by_key["timeout_key"] and source != "d3rlpy_hdf5":
        keys = ("terminal_key", "timeout_key")
        terminal, timeout = (columns.arrays[str(by_key[key])][:].astype(bool) for key in keys)
        if (both := int((terminal & timeout).sum())) and both == int(timeout.sum()):
            guess.block["terminal_includes_timeouts"] = True
            reason = f"all {both} rows with `{by_key['timeout_key']}` also have `{by_key['terminal_key']}`"
            guess.unsure["terminal_includes_timeouts"] = f"{reason}, so they look like time limits"
    return guess


def guess_hdf5(path: Path) -> Guess:
    """The guess for an HDF5 file, or for a folder of them: one array a column, or one group an episode."""
    file = path if path.is_file() else next(f for f in sorted(path.rglob("*")) if f.name.lower().endswith(HDF5))
    with open_hdf5(file) as opened:
        grouped = path.is_dir() or _is_grouped(opened)
        group = _episode(opened) if grouped else None
        return guess_flat(path, "hdf5") if group is None else _guess_groups(path, group)


def _is_grouped(file: "h5py.File") -> bool:
    """Whether observations or actions are within groups."""
    import h5py

    arrays = [name for name in own_names(file) if isinstance(file[name], h5py.Dataset)]
    return any(match_name(arrays, FLAT_NAMES[key]) is None for key in ("obs_key", "action_key"))


def _episode(group: "h5py.Group", depth: int = 0) -> "h5py.Group | None":
    """The first group that holds actions."""
    import h5py

    names = own_names(group)
    action = match_name(names, FLAT_NAMES["action_key"])
    if action is not None and isinstance(group[action], h5py.Dataset):
        return group
    inner = (group[name] for name in names if isinstance(group[name], h5py.Group) and depth < DEEPEST)
    return next((found for one in inner if (found := _episode(one, depth + 1)) is not None), None)


def _guess_groups(path: Path, group: "h5py.Group") -> Guess:
    import h5py

    from pipeline.ingest.sources import SOURCES

    names = own_names(group)
    by_key = match_names(names, {key: aliases for key, aliases in FLAT_NAMES.items() if key not in OPTIONAL})
    if by_key["obs_key"] is None:
        fix = f"set `dataset.source: hdf5_groups` and `dataset.obs_key` to one of {', '.join(names)}"
        raise ValueError(f"{path}: no observations in `{group.name}`; {fix}")
    guess = head(path, "hdf5_groups")
    least = {"source": "hdf5_groups", "path": "log", "held_out_path": "log"}
    defaults = choose(SOURCES, least, "dataset", key="source")[1]
    guess.block |= {key: name for key, name in by_key.items() if name != vars(defaults)[key]}
    guess.unsure |= {key: "no such dataset" for key, name in by_key.items() if name is None and key in guess.block}
    members: list[str] = []
    group.visit(members.append)
    arrays = {name: group[name] for name in members if isinstance(group[name], h5py.Dataset)}
    guess.columns = [(name, str(list(array.shape)), str(array.dtype)) for name, array in arrays.items()]
    guess.notes = [f"above: the arrays of `{group.name}`, the first episode"]
    _check_integers(guess, group[by_key["action_key"]])
    if by_key["reward_key"] is None:
        ask_for_reward(guess, "reward_key", [n for n in members if "success" in n])
    return guess


def guess_lerobot(path: Path) -> Guess:
    """The guess for a LeRobot dataset, a folder with ``meta/info.json``."""
    guess = head(path, "lerobot")
    features = json.loads((path / "meta/info.json").read_text()).get("features") or {}
    guess.columns = [(name, str(f.get("shape", "")), str(f.get("dtype", ""))) for name, f in features.items()]
    if features and "next.reward" not in features:
        guess.block["reward_key"] = None
        ask_for_reward(guess, "reward_key", [name for name in features if "success" in name])
    return guess


def _check_integers(guess: Guess, action: "h5py.Dataset") -> None:
    if action.dtype.kind in "iub":
        guess.block["action_kind"] = CONTINUOUS if is_wide(action.shape) else DISCRETE
        guess.unsure["action_kind"] = "actions are integers: discrete if they are choices, else continuous"


def _flat_columns(path: Path, kind: str) -> tuple[Columns, FlatConfig, str]:
    """The columns of the file, the default names of its source, and the name of the source."""
    from pipeline.ingest.sources import SOURCES

    wanted = {name for names in FLAT_NAMES.values() for name in names}
    columns = read_npz(array_files(path, NPZ)[0], wanted) if kind == "npz" else read_hdf5(path, wanted)
    source = "npz" if kind == "npz" else "d3rlpy_hdf5" if "episode_terminals" in columns.names else "d4rl_hdf5"
    defaults = choose(SOURCES, {"source": source, "path": "log", "held_out_path": "log"}, "dataset", key="source")[1]
    return columns, defaults, source
