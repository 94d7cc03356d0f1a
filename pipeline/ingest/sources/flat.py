"""Logs kept as flat columns, episodes concatenated: where episodes end, and what becomes of the final observation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources.base import FileFacts, SourceConfig, combine, existing
from pipeline.ingest.validate import check_column, check_column_kind

CHUNK = 1 << 16


@dataclass(frozen=True)
class FlatConfig(SourceConfig):
    """Columns of a flat log. ``next_obs_key`` and ``timeout_key`` may be null or absent from the file, not both.
    ``terminal_key`` null: no episode truly ends. ``terminal_includes_timeouts``: the terminal column is also set at
    time limits, and those are no true ends."""

    obs_key: str = "observations"
    action_key: str = "actions"
    reward_key: str = "rewards"
    terminal_key: str | None = "terminals"
    timeout_key: str | None = "timeouts"
    next_obs_key: str | None = "next_observations"
    terminal_includes_timeouts: bool = False

    ends_share_a_column: ClassVar[bool] = False  # true ends are marked in the timeout column too

    @property
    def required(self) -> dict[str, str]:
        keys = ("obs_key", "action_key", "reward_key", "terminal_key")
        return {key: name for key in keys if (name := getattr(self, key)) is not None}


class Rows(Protocol):
    """An array, or one that stays on disk until rows of it are asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype
    ndim: int

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Columns:
    """What a reader found: the wanted columns, the names of all columns, and the file's attributes."""

    arrays: dict[str, Any]  # Rows where they are vectors
    names: list[str]
    attributes: dict[str, Any]


Reader = Callable[[Path, set[str]], Columns]  # the names of the wanted columns select what is loaded


@dataclass(frozen=True)
class FlatLog:
    """One file, cut into episodes: episode e covers the rows from ``stops[e - 1]`` to ``stops[e]``."""

    place: Path
    obs: Rows  # [N, O]
    action: Rows  # [N, A]
    reward: np.ndarray  # [N]
    terminal: np.ndarray  # [N]
    next_obs: Rows | None  # [N, O]
    stops: np.ndarray
    dropped: int
    warnings: list[str]
    env_id: str | None
    action_kind: str | None

    def episodes(self, held_out: bool | None) -> Iterator[Episode]:
        for start, stop in zip(np.r_[0, self.stops[:-1]], self.stops, strict=True):
            if self.next_obs is not None:
                obs = np.concatenate([self.obs[start:stop], self.next_obs[stop - 1 : stop]])
                terminated = bool(self.terminal[stop - 1])
                yield Episode({"state": obs}, self.action[start:stop], self.reward[start:stop], terminated, held_out)
            elif stop - start > 1:
                obs, steps = self.obs[start:stop], slice(start, stop - 1)
                yield Episode({"state": obs}, self.action[steps], self.reward[steps], False, held_out)

    @property
    def whole_actions(self) -> bool:
        return self.action.dtype.kind in "iub"

    @property
    def size(self) -> int:
        return 4 * (len(self.obs) + len(self.stops)) * (self.obs.shape[1] + self.action.shape[1] + 2)


def read_flat(config: FlatConfig, source: str, reader: Reader) -> LoggedData:
    """A flat log, from one file or a train and a held-out file. Raises ValueError for anything missing or wrong."""
    params = ["path", "held_out_path"]
    pairs = zip(config.parts, params, strict=False)
    logs = [_load(config, existing(path, param), reader) for (path, _), param in pairs]
    if len({(log.obs.shape[1], log.action.shape[1]) for log in logs}) > 1:
        raise ValueError(f"{config.held_out_path}: observations or actions differ in length from {config.path}")
    flags = [held_out for _, held_out in config.parts]
    whole = (f"{log.place}: `{config.action_key}` holds {log.action.dtype}" for log in logs if log.whole_actions)
    facts = FileFacts(
        obs_dim=logs[0].obs.shape[1],
        action_kind=logs[0].action_kind,
        whole_actions=next(whole, None),
        env_id=logs[0].env_id,
    )
    return combine(
        config,
        source,
        facts,
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
    found = columns.arrays
    _check_rows(path, found)
    for name, column in found.items():
        check_column_kind(str(path), name, column)
    obs, action = _matrix(found[config.obs_key]), _matrix(found[config.action_key])
    next_obs = _matrix(found[config.next_obs_key]) if config.next_obs_key in found else None
    if next_obs is not None and next_obs.shape != obs.shape:
        raise ValueError(f"{path}: `{config.next_obs_key}` is {list(next_obs.shape)}, expected {list(obs.shape)}")
    terminal, timeout, warnings = _flags(config, path, found)
    stops = _stops(path, obs, next_obs, terminal | timeout, warnings)
    dropped = 0 if next_obs is not None else len(stops)
    if next_obs is None:
        _warn_dropped(terminal, stops, warnings)
    env_id, kind = (columns.attributes.get(key) for key in ("env_id", "action_kind"))
    reward = found[config.reward_key]
    reward = reward[:, 0] if reward.ndim == 2 and reward.shape[1] == 1 else reward
    return FlatLog(path, obs, action, reward, terminal, next_obs, stops, dropped, warnings, env_id, kind)


def _matrix(column: Any) -> Rows:
    return column[:, None] if column.ndim == 1 else column


def _check_rows(path: Path, columns: dict[str, Any]) -> None:
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise ValueError(f"{path}: columns differ in length ({shown}); was the log cut? write it again")
    if 0 in rows.values():
        raise ValueError(f"{path}: holds no steps")


def _flags(config: FlatConfig, path: Path, found: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """True ends and time limits, bool "N" each."""
    terminal = np.zeros(len(found[config.reward_key]), bool)
    if config.terminal_key is not None:
        terminal = _flag(path, config.terminal_key, found)
    if config.timeout_key not in found:
        if config.next_obs_key not in found:
            raise ValueError(
                f"{path}: neither `{config.timeout_key}` nor `{config.next_obs_key}`, so time limits cannot be seen; "
                "set `dataset.timeout_key` or `dataset.next_obs_key`"
            )
        warning = f"no `{config.timeout_key}`: time limits seen as breaks in the states"
        return terminal, np.zeros_like(terminal), [warning]
    assert config.timeout_key is not None
    timeout, warnings = _flag(path, config.timeout_key, found), []
    if config.terminal_includes_timeouts:
        terminal = terminal & ~timeout
    elif not config.ends_share_a_column and (both := int((terminal & timeout).sum())):
        warnings.append(
            f"{both} steps are marked both `{config.terminal_key}` and `{config.timeout_key}`: taken as true ends; "
            "set `dataset.terminal_includes_timeouts: true` if they are time limits"
        )
    return terminal, timeout, warnings


def _flag(path: Path, name: str, found: dict[str, Any]) -> np.ndarray:
    column = found[name][:].reshape(-1)
    if column.dtype.kind not in "fiub" or not np.isin(column, (0, 1)).all():
        raise ValueError(f"{path}: `{name}` must hold 0 and 1 only, one a step; name another column or repair it")
    return column.astype(bool)


def _stops(path: Path, obs: Rows, next_obs: Rows | None, end: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Row after the last step of each episode, int64."""
    if next_obs is not None:
        unmarked = _breaks(obs, next_obs) & ~end[:-1]
        if unmarked.any():
            first = int(np.flatnonzero(unmarked)[0])
            warnings.append(
                f"{unmarked.sum()} steps lead to a state other than the next row's, without an end mark (first: row "
                f"{first}): the episode is split there, as by a time limit"
            )
        end = np.r_[end[:-1] | unmarked, end[-1]]
    if not end[-1]:
        tail = len(end) - (int(np.flatnonzero(end)[-1]) + 1 if end.any() else 0)
        warnings.append(f"the last {tail} steps have no end mark: kept as an episode that was cut off")
    return np.flatnonzero(np.r_[end[:-1], True]) + 1


def _breaks(obs: Rows, next_obs: Rows) -> np.ndarray:
    """Where the next observation of row t is not the observation of row t + 1, bool "N-1"."""
    found = [np.zeros(0, bool)]
    for start in range(0, len(obs) - 1, CHUNK):
        stop = min(start + CHUNK, len(obs) - 1)
        same = np.isclose(obs[start + 1 : stop + 1], next_obs[start:stop], rtol=1e-5, atol=1e-6, equal_nan=True)
        found.append(~same.all(axis=1))
    return np.concatenate(found)


def _warn_dropped(terminal: np.ndarray, stops: np.ndarray, warnings: list[str]) -> None:
    lost = int(terminal[stops - 1].sum())
    also = f", {lost} true ends among them" if lost else ""
    warnings.append(f"no next observations: the last step of each of {len(stops)} episodes is dropped{also}")
