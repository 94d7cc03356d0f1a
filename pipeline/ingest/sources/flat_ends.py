"""Where the episodes of a flat log end: at marks, at breaks between next observations, where their number changes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.ingest.sources.flat_axes import RowColumns, flag, one_per_step
from pipeline.ingest.sources.flat_config import ENVIRONMENTS, EPISODES, FlatConfig
from pipeline.ingest.sources.stored import Rows

CHUNK = 1 << 16  # rows compared at a time
MOST_BREAKS = 0.5  # share of the rows without a mark: above it, next observations are looked at more closely


@dataclass(frozen=True)
class Ends:
    """Episode e has the rows from ``starts[e]`` to ``stops[e]``, int64 "E"; ``terminal`` is bool "N"."""

    terminal: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    warnings: list[str]


def find_ends(config: FlatConfig, path: Path, rows: RowColumns) -> Ends:
    """Episodes of the rows. Raises ValueError if the columns do not say where they end."""
    terminal, timeout, warnings = _marks(config, path, rows)
    end = terminal | timeout
    if "episode_key" in rows.columns:
        end |= _changes(config, path, one_per_step(path, config, "episode_key", rows.columns))
    valid = rows.valid
    cut = np.zeros_like(end)  # rows before padding, and at the end of an episode or environment of a larger array
    cut[rows.part_rows - 1 :: rows.part_rows] = True
    cut[:-1] |= ~valid[1:]
    if "next_obs_key" in rows.columns:
        unmarked = _breaks(rows.columns["obs_key"], rows.columns["next_obs_key"])
        unmarked &= valid[:-1] & ~(end | cut)[:-1]
        if unmarked.any():
            warnings.append(_check_breaks(config, path, rows, unmarked))
        end = np.r_[end[:-1] | unmarked, end[-1:]]
    if rows.parts != EPISODES:
        warnings += _tails(rows, end, cut & valid & ~end)
    end = (end | cut) & valid
    starts = np.flatnonzero(valid & np.r_[True, (end | ~valid)[:-1]])
    return Ends(terminal, starts, np.flatnonzero(end) + 1, warnings)


def missing_column(path: Path, key: str, name: str, names: list[str]) -> str | None:
    """The message for a missing column of end marks where another column of the file may be the one; else None."""
    done = next((other for other in names if other.lower() in ("done", "dones")), None)
    if key != "terminal_key" or done is None:
        return None
    return f"{path}: no column `{name}`, but `{done}`; {_either(done)}"


def _either(name: str) -> str:
    return (
        f"set `dataset.terminal_key: {name}` with `dataset.timeout_key: null` if it marks true ends alone, or "
        f"`dataset.terminal_key: null` with `dataset.timeout_key: {name}` if it marks time limits too"
    )


def _marks(config: FlatConfig, path: Path, rows: RowColumns) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Terminations and time limits, bool "N" each, and warnings."""
    columns = rows.columns
    terminal, timeout = (
        flag(path, config, key, columns) if key in columns else np.zeros(len(rows.valid), bool)
        for key in ("terminal_key", "timeout_key")
    )
    if "timeout_key" not in columns:
        return terminal, timeout, _without_timeouts(config, path, rows)
    if config.terminal_includes_timeouts:
        return terminal & ~timeout, timeout, []
    if not config.ends_share_a_column and (both := int((terminal & timeout).sum())):
        problem = f"{both} steps are marked both `{config.terminal_key}` and `{config.timeout_key}`"
        fix = "set `dataset.terminal_includes_timeouts: true` if they are time limits"
        return terminal, timeout, [f"{problem}: counted as terminations; {fix}"]
    return terminal, timeout, []


def _without_timeouts(config: FlatConfig, path: Path, rows: RowColumns) -> list[str]:
    """Warnings of a log without a column of time limits. Raises ValueError if the ends are then unknown."""
    others = rows.parts == EPISODES or {"next_obs_key", "episode_key"} & set(rows.columns)
    if config.timeout_key is None:
        if not others and config.terminal_key is None:
            fix = "set `dataset.episode_key`, `dataset.terminal_key` or `dataset.timeout_key`"
            raise ValueError(f"{path}: no column says where episodes end; {fix}")
        return []
    if others:
        breaks = "time limits are inferred from breaks between observations"
        how = breaks if "next_obs_key" in rows.columns else "ends that are no true ends count as time limits"
        return [f"no `{config.timeout_key}`: {how}"]
    absent = [f"`{name}`" for name in (config.timeout_key, config.next_obs_key) if name is not None]
    unknown = f"no {' and no '.join(absent)}, so time limits are unknown"
    fix = "set `dataset.timeout_key`" if config.terminal_key is None else _either(config.terminal_key)
    raise ValueError(f"{path}: {unknown}; {fix}")


def _changes(config: FlatConfig, path: Path, episode: np.ndarray) -> np.ndarray:
    """Whether the next row has another episode number, bool "N". Raises ValueError if an episode continues later."""
    change = np.r_[episode[1:] != episode[:-1], True]
    runs = episode[change]
    if len(np.unique(runs)) < len(runs):
        values, counts = np.unique(runs, return_counts=True)
        problem = f"episode {values[counts > 1][0]} of `{config.episode_key}` continues after other episodes"
        raise ValueError(f"{path}: {problem}; sort the rows by episode, or use a unique number per episode")
    return change


def _tails(rows: RowColumns, end: np.ndarray, unmarked: np.ndarray) -> list[str]:
    """The warning about rows after the last end mark of the log or of each environment; ``unmarked`` ends there."""
    if not unmarked.any():
        return []
    last = np.flatnonzero(unmarked)
    before = [np.flatnonzero(end[: row + 1]) for row in last]
    steps = sum(int(row - (marks[-1] if len(marks) else -1)) for row, marks in zip(last, before, strict=True))
    if rows.parts == ENVIRONMENTS:
        return [f"the last {steps} steps of {len(last)} environments have no end mark: kept as truncated episodes"]
    return [f"the last {steps} steps have no end mark: kept as a truncated episode"]


def _breaks(obs: Rows, next_obs: Rows) -> np.ndarray:
    """Whether the next observation of row t differs from the observation of row t + 1, bool "N-1"."""
    breaks: list[np.ndarray] = [np.zeros(0, bool)]
    for start in range(0, len(obs) - 1, CHUNK):
        stop = min(start + CHUNK, len(obs) - 1)
        breaks.append(~_same(obs[start + 1 : stop + 1], next_obs[start:stop]))
    return np.concatenate(breaks)


def _same(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether rows are equal but for rounding, bool "N"."""
    return np.isclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True).reshape(len(one), -1).all(axis=1)


def _check_breaks(config: FlatConfig, path: Path, rows: RowColumns, unmarked: np.ndarray) -> str:
    """The warning about breaks without a mark. Raises ValueError if the next observations stand in the wrong row."""
    first, name = int(np.flatnonzero(unmarked)[0]), config.next_obs_key
    if unmarked.mean() > MOST_BREAKS:
        obs, after = rows.columns["obs_key"][:CHUNK], rows.columns["next_obs_key"][:CHUNK]
        shifts = {"the same row": 0, "two rows later": 2, "the row before": -1}
        for where, shift in shifts.items():
            now, then = (obs[shift:], after[: len(after) - shift]) if shift >= 0 else (obs[:shift], after[-shift:])
            if len(now) and _same(now, then).mean() > MOST_BREAKS:
                problem = f"`{name}` holds the observation of {where}, not of the next one"
                raise ValueError(f"{path}: {problem}; repair it, or set `dataset.next_obs_key: null`")
    return (
        f"{unmarked.sum()} steps have no end mark, but their next observation is not that of the next row "
        f"(first: row {first}): the episode is split there, as at a time limit"
    )
