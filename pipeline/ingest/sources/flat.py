"""Flat logs: one array per column, episodes concatenated. Finds where episodes end, and their final observations."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, require_path
from pipeline.ingest.sources.stored import StoredRows
from pipeline.ingest.validate import check_column, check_column_kind
from pipeline.validation import OPTIONS

CHUNK = 1 << 16  # rows compared at a time
Rows = np.ndarray | StoredRows


@dataclass(frozen=True, config=OPTIONS)
class FlatConfig(SourceConfig):
    """Columns of a flat log. The log needs one of ``next_obs_key`` and ``timeout_key``."""

    obs_key: str = "observations"  # column of observations
    action_key: str = "actions"  # column of actions
    reward_key: str = "rewards"  # column of rewards
    terminal_key: str | None = "terminals"  # column of true ends; null: no episode truly ends
    timeout_key: str | None = "timeouts"  # column of time limits; null or absent from the file: none
    next_obs_key: str | None = "next_observations"  # column of next observations; null or absent from the file: none
    terminal_includes_timeouts: bool = False  # whether terminal_key is also set at time limits

    ends_share_a_column: ClassVar[bool] = False  # true ends are marked in the timeout column too

    @property
    def required(self) -> dict[str, str]:
        """The columns that must exist, by the key of params.yaml that names them."""
        keys = ("obs_key", "action_key", "reward_key", "terminal_key")
        return {key: name for key in keys if (name := getattr(self, key)) is not None}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Content of a file: the wanted columns, the names of all columns, and the file's attributes."""

    arrays: dict[str, Rows]
    names: list[str]
    attributes: dict[str, Any]


Reader = Callable[[Path, set[str]], Columns]  # (file, names of the wanted columns)


@dataclasses.dataclass(frozen=True)
class FlatLog:
    """One file, split into episodes: episode e has the rows from ``stops[e - 1]`` to ``stops[e]``."""

    place: Path
    obs: Rows  # [N, O]
    action: Rows  # [N, A]
    reward: np.ndarray  # [N]
    terminal: np.ndarray  # [N]
    next_obs: Rows | None  # [N, O]
    stops: np.ndarray  # int64 [E]
    dropped: int
    warnings: list[str]
    env_id: str | None
    action_kind: str | None

    def episodes(self, held_out: bool | None) -> Iterator[Episode]:
        """Episodes in order, each with the flag ``held_out``. Without next observations, the last step is dropped."""
        for start, stop in zip(np.r_[0, self.stops[:-1]], self.stops, strict=True):
            if self.next_obs is not None:
                obs = np.concatenate([self.obs[start:stop], self.next_obs[stop - 1 : stop]])
                terminated = bool(self.terminal[stop - 1])
                yield Episode({"state": obs}, self.action[start:stop], self.reward[start:stop], terminated, held_out)
            elif stop - start > 1:
                obs, steps = self.obs[start:stop], slice(start, stop - 1)
                yield Episode({"state": obs}, self.action[steps], self.reward[steps], False, held_out)

    @property
    def integer_actions(self) -> bool:
        """Whether actions are stored as integers or booleans."""
        return self.action.dtype.kind in "iub"

    @property
    def size(self) -> int:
        """Bytes of the prepared arrays, estimated."""
        return 4 * (len(self.obs) + len(self.stops)) * (self.obs.shape[1] + self.action.shape[1] + 2)


def read_flat(config: FlatConfig, source: str, reader: Reader) -> LoggedData:
    """A flat log from one file, or from a train and a held-out file. Raises ValueError for missing or wrong columns."""
    params = ["path", "held_out_path"]
    pairs = zip(config.parts, params, strict=False)
    logs = [_load(config, require_path(path, param), reader) for (path, _), param in pairs]
    if len({(log.obs.shape[1], log.action.shape[1]) for log in logs}) > 1:
        fix = "name two files of the same layout"
        raise ValueError(f"{config.held_out_path}: observations or actions differ in size from {config.path}; {fix}")
    flags = [held_out for _, held_out in config.parts]
    integer = (f"{log.place}: `{config.action_key}` holds {log.action.dtype}" for log in logs if log.integer_actions)
    spec = LogSpec(
        obs_dim=logs[0].obs.shape[1],
        action_kind=logs[0].action_kind,
        integer_actions=next(integer, None),
        env_id=logs[0].env_id,
    )
    return combine(
        config,
        source,
        spec,
        (episode for log, flag in zip(logs, flags, strict=True) for episode in log.episodes(flag)),
        sum(log.dropped for log in logs),
        [f"{log.place.name}: {warning}" for log in logs for warning in log.warnings],
        sum(log.size for log in logs),
    )


def _load(config: FlatConfig, path: Path, reader: Reader) -> FlatLog:
    wanted = {*config.required.values()} | {key for key in (config.timeout_key, config.next_obs_key) if key}
    columns = reader(path, wanted)
    for param, name in config.required.items():
        check_column(str(path), name, columns.names, param)
    arrays = columns.arrays
    _check_rows(path, arrays)
    for name, column in arrays.items():
        check_column_kind(str(path), name, column.dtype, column.shape)
    obs, action = _matrix(arrays[config.obs_key]), _matrix(arrays[config.action_key])
    next_obs = _matrix(arrays[config.next_obs_key]) if config.next_obs_key in arrays else None
    if next_obs is not None and next_obs.shape != obs.shape:
        shapes = f"shape {list(next_obs.shape)}, expected {list(obs.shape)} as `{config.obs_key}`"
        raise ValueError(f"{path}: `{config.next_obs_key}` has {shapes}; set `dataset.next_obs_key` to another column")
    terminal, timeout, warnings = _flags(config, path, arrays)
    stops = _stops(path, obs, next_obs, terminal | timeout, warnings)
    dropped = 0 if next_obs is not None else len(stops)
    if next_obs is None:
        _warn_dropped(terminal, stops, warnings)
    env_id, kind = (columns.attributes.get(key) for key in ("env_id", "action_kind"))
    reward = arrays[config.reward_key][:]
    reward = reward[:, 0] if reward.ndim == 2 and reward.shape[1] == 1 else reward
    return FlatLog(path, obs, action, reward, terminal, next_obs, stops, dropped, warnings, env_id, kind)


def _matrix(column: Rows) -> Rows:
    return column[:, None] if isinstance(column, np.ndarray) and column.ndim == 1 else column


def _check_rows(path: Path, columns: dict[str, Rows]) -> None:
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ValueError(f"{path}: columns differ in length ({counts}); write the log again, it may be truncated")
    if 0 in rows.values():
        raise ValueError(f"{path}: holds no steps; name another log")


def _flags(config: FlatConfig, path: Path, columns: dict[str, Rows]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Terminations and time limits, bool "N" each, and warnings."""
    terminal = np.zeros(len(columns[config.reward_key]), bool)
    if config.terminal_key is not None:
        terminal = _flag(path, config.terminal_key, columns)
    if config.timeout_key not in columns:
        if config.next_obs_key not in columns:
            raise ValueError(
                f"{path}: neither `{config.timeout_key}` nor `{config.next_obs_key}`, so time limits are unknown; set "
                "`dataset.timeout_key` or `dataset.next_obs_key`"
            )
        warning = f"no `{config.timeout_key}`: time limits are inferred from breaks between observations"
        return terminal, np.zeros_like(terminal), [warning]
    assert config.timeout_key is not None
    timeout = _flag(path, config.timeout_key, columns)
    warnings = []
    if config.terminal_includes_timeouts:
        terminal = terminal & ~timeout
    elif not config.ends_share_a_column and (both := int((terminal & timeout).sum())):
        warnings.append(
            f"{both} steps are marked both `{config.terminal_key}` and `{config.timeout_key}`: counted as "
            "terminations; set `dataset.terminal_includes_timeouts: true` if they are time limits"
        )
    return terminal, timeout, warnings


def _flag(path: Path, name: str, columns: dict[str, Rows]) -> np.ndarray:
    column = columns[name][:].reshape(-1)
    if column.dtype.kind not in "fiub" or not np.isin(column, (0, 1)).all():
        raise ValueError(f"{path}: `{name}` must hold only 0 and 1, one per step; name another column or repair it")
    return column.astype(bool)


def _stops(path: Path, obs: Rows, next_obs: Rows | None, end: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Row after the last step of each episode, int64."""
    if next_obs is not None:
        unmarked = _breaks(obs, next_obs) & ~end[:-1]
        if unmarked.any():
            first = int(np.flatnonzero(unmarked)[0])
            warnings.append(
                f"{unmarked.sum()} steps have no end mark, but their next observation is not that of the next row "
                f"(first: row {first}): the episode is split there, as at a time limit"
            )
        end = np.r_[end[:-1] | unmarked, end[-1]]
    if not end[-1]:
        tail = len(end) - (int(np.flatnonzero(end)[-1]) + 1 if end.any() else 0)
        warnings.append(f"the last {tail} steps have no end mark: kept as a truncated episode")
    return np.flatnonzero(np.r_[end[:-1], True]) + 1


def _breaks(obs: Rows, next_obs: Rows) -> np.ndarray:
    """Whether the next observation of row t differs from the observation of row t + 1, bool "N-1"."""
    breaks: list[np.ndarray] = [np.zeros(0, bool)]
    for start in range(0, len(obs) - 1, CHUNK):
        stop = min(start + CHUNK, len(obs) - 1)
        same = np.isclose(obs[start + 1 : stop + 1], next_obs[start:stop], rtol=1e-5, atol=1e-6, equal_nan=True)
        breaks.append(np.logical_not(same.all(axis=1)))
    return np.concatenate(breaks)


def _warn_dropped(terminal: np.ndarray, stops: np.ndarray, warnings: list[str]) -> None:
    lost = int(terminal[stops - 1].sum())
    also = f", including {lost} terminations" if lost else ""
    warnings.append(f"no next observations: the last step of each of {len(stops)} episodes is dropped{also}")
