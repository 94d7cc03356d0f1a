"""Flat logs: one array per column, episodes concatenated, with or without next observations."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.array_files import array_files
from pipeline.ingest.sources.base import LogSpec, combine, require_path
from pipeline.ingest.sources.episode_parts import unknown_rewards
from pipeline.ingest.sources.flat_axes import as_rows
from pipeline.ingest.sources.flat_config import FlatConfig
from pipeline.ingest.sources.flat_ends import Ends, find_ends, missing_column
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.sources.stored import Rows
from pipeline.ingest.validate import check_column, check_column_kind

FIX = "name next observations in `dataset.next_obs_key`, or true ends in `dataset.terminal_key`"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Content of a file: the wanted columns, the names of all columns, and the file's attributes."""

    arrays: dict[str, Rows]
    names: list[str]
    attributes: dict[str, Any]


Reader = Callable[[Path, set[str]], Columns]  # (file, names of the wanted columns)


@dataclasses.dataclass(frozen=True)
class FlatLog:
    """One file, split into episodes."""

    place: Path
    obs: Rows  # [N, O]
    action: Rows  # [N, A]
    reward: np.ndarray  # [N]
    next_obs: Rows | None  # [N, O]
    ends: Ends
    warnings: list[str]
    env_id: str | None
    action_kind: str | None

    def episodes(self, held_out: bool | None, last_steps: LastSteps) -> Iterator[Episode]:
        """Episodes in order, each with the flag ``held_out``."""
        for start, stop in zip(self.ends.starts, self.ends.stops, strict=True):
            obs, terminated = self.obs[start:stop], bool(self.ends.terminal[stop - 1])
            if self.next_obs is not None:
                obs = np.concatenate([obs, self.next_obs[stop - 1 : stop]])
            episode = Episode({"state": obs}, self.action[start:stop], self.reward[start:stop], terminated, held_out)
            if self.next_obs is not None:
                yield last_steps.complete(episode)
            elif (closed := last_steps.close(episode)) is not None:
                yield closed

    @property
    def integer_actions(self) -> bool:
        """Whether actions are stored as integers or booleans."""
        return self.action.dtype.kind in "iub"

    @property
    def size(self) -> int:
        """Bytes of the prepared arrays, estimated."""
        return 4 * (len(self.obs) + len(self.ends.stops)) * (self.obs.shape[1] + self.action.shape[1] + 2)


def read_flat(config: FlatConfig, source: str, reader: Reader, suffixes: tuple[str, ...]) -> LoggedData:
    """A flat log from one file, or from a train and a held-out file; each may be a folder of files instead.

    Raises ValueError for missing or wrong columns.
    """
    pairs = zip(config.parts, ("path", "held_out_path"), strict=False)
    parts = [(array_files(require_path(path, param), suffixes), held_out) for (path, held_out), param in pairs]
    logs = [_load(config, file, reader, len(files) > 1) for files, _ in parts for file in files]
    if len({(log.obs.shape[1], log.action.shape[1]) for log in logs}) > 1:
        fix = "name two files of the same layout"
        raise ValueError(f"{config.held_out_path}: observations or actions differ in size from {config.path}; {fix}")
    flags = [held_out for files, held_out in parts for _ in files]
    integer = (f"{log.place}: `{config.action_key}` holds {log.action.dtype}" for log in logs if log.integer_actions)
    spec = LogSpec(
        action_kind=logs[0].action_kind,
        integer_actions=next(integer, None),
        env_id=logs[0].env_id,
    )
    remarks = Remarks()
    episodes = _episodes(config, list(zip(logs, flags, strict=True)), remarks)
    return combine(config, source, spec, episodes, 0, _warnings(logs), sum(log.size for log in logs), remarks=remarks)


def _warnings(logs: list[FlatLog]) -> list[str]:
    """Each warning once, with the file or the number of files that it is about."""
    places: dict[str, list[str]] = {}
    for log in logs:
        for warning in log.warnings:
            places.setdefault(warning, []).append(log.place.name)
    return [
        f"{names[0]}: {warning}" if len(names) == 1 else f"{len(names)} files, such as {names[0]}: {warning}"
        for warning, names in places.items()
    ]


def _episodes(config: FlatConfig, logs: list[tuple[FlatLog, bool | None]], remarks: Remarks) -> Iterator[Episode]:
    last_steps = LastSteps(config.path, config.max_dropped_return, FIX)
    for log, held_out in logs:
        yield from log.episodes(held_out, last_steps)
    last_steps.report(remarks)


def _load(config: FlatConfig, path: Path, reader: Reader, one_of_many: bool) -> FlatLog:
    """The log of a file; the end of ``one_of_many`` files is an end of an episode."""
    stored = reader(path, set(config.columns.values()))
    for key, name in config.required.items():
        if name not in stored.names and (message := missing_column(path, key, name, stored.names)):
            raise ValueError(message)
        check_column(str(path), name, stored.names, key)
    columns = {key: stored.arrays[name] for key, name in config.columns.items() if name in stored.arrays}
    _check_columns(config, path, columns)
    rows = as_rows(config, path, columns, one_of_many)
    for key in [key for key in ("obs_key", "action_key", "reward_key") if key in rows.columns]:
        check_column_kind(str(path), getattr(config, key), rows.columns[key].dtype, rows.columns[key].shape)
    obs, action = _matrix(rows.columns["obs_key"]), _matrix(rows.columns["action_key"])
    next_obs = _matrix(rows.columns["next_obs_key"]) if "next_obs_key" in rows.columns else None
    if next_obs is not None and next_obs.shape != obs.shape:
        shapes = f"shape {list(next_obs.shape)}, expected {list(obs.shape)} as `{config.obs_key}`"
        raise ValueError(f"{path}: `{config.next_obs_key}` has {shapes}; set `dataset.next_obs_key` to another column")
    ends = find_ends(config, path, rows)
    env_id, kind = (stored.attributes.get(key) for key in ("env_id", "action_kind"))
    reward = rows.columns["reward_key"][:] if "reward_key" in rows.columns else unknown_rewards(len(obs))
    reward = reward[:, 0] if reward.ndim == 2 and reward.shape[1] == 1 else reward
    return FlatLog(path, obs, action, reward, next_obs, ends, [*rows.warnings, *ends.warnings], env_id, kind)


def _matrix(column: Rows) -> Rows:
    return column[:][:, None] if column.ndim == 1 else column


def _check_columns(config: FlatConfig, path: Path, columns: dict[str, Rows]) -> None:
    """Raises ValueError for columns that are single values, are empty or differ in length."""
    rows = {getattr(config, key): len(column) if column.ndim else None for key, column in columns.items()}
    for key, column in columns.items():
        if key != "episode_key":
            check_column_kind(str(path), getattr(config, key), column.dtype, ())
        if not column.ndim:
            fix = f"set `dataset.{key}` to another column"
            raise ValueError(f"{path}: `{getattr(config, key)}` is a single value, expected one per step; {fix}")
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ValueError(f"{path}: columns differ in length ({counts}); write the log again, it may be truncated")
    if 0 in rows.values():
        raise ValueError(f"{path}: holds no steps; name another log")


__all__ = ["Columns", "FlatConfig", "FlatLog", "Reader", "read_flat"]
