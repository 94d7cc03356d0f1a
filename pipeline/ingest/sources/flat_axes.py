"""Arrays with two leading axes, padded episodes or parallel environments, as rows end to end."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.ingest.sources.flat_config import ENVIRONMENTS, EPISODES, FlatConfig
from pipeline.ingest.sources.stored import Rows, first_rows, joined_axes
from pipeline.validation import counted

CHUNK = 1 << 20  # numbers in memory at a time
FEWEST = 2  # rows of zeros at the end that were never written: a single one may be a step


@dataclass(frozen=True)
class RowColumns:
    """Columns "N ..." of a file by the key of params.yaml that names them.

    ``valid`` is False in padding. A part is an episode or an environment; where there are several, their last rows are
    ends, with or without a mark.
    """

    columns: dict[str, Rows]
    valid: np.ndarray  # bool "N"
    part_rows: int  # rows of a part
    parts: str  # what a part is: EPISODES, ENVIRONMENTS or "" for a single part
    warnings: list[str]


def as_rows(config: FlatConfig, path: Path, columns: dict[str, Rows], one_of_many: bool) -> RowColumns:
    """The columns with one leading axis; ``one_of_many`` files is a part of the log.

    Raises ValueError if the meaning of two leading axes is unclear.
    """
    columns, warnings = _without_unit_axis(config, columns)
    if "mask_key" not in columns and (unwritten := _unwritten(columns)):
        columns = {key: first_rows(column, len(column) - unwritten) for key, column in columns.items()}
        warnings.append(
            f"the last {unwritten} rows are zero in all columns, as in a buffer that was not full: left out"
        )
    shape = _two_axes(columns)
    if shape is None:
        parts = EPISODES if one_of_many else ""
        return RowColumns(columns, _masked(config, path, columns, warnings), len(columns["obs_key"]), parts, warnings)
    place = f"`{config.obs_key}` {list(columns['obs_key'].shape)}"
    next_obs, expected = columns.get("next_obs_key"), (*shape, *columns["obs_key"].shape[2:])
    if next_obs is not None and next_obs.shape != expected:
        problem = f"`{config.next_obs_key}` {list(next_obs.shape)} has another shape than {place}"
        raise ValueError(f"{path}: {problem}; set `dataset.next_obs_key` to another column")
    meaning = config.leading_axes or _meaning(columns, shape)
    if meaning is None:
        unclear = f"the first two axes of {place} may be episodes and steps, or steps and environments"
        raise ValueError(f"{path}: {unclear}; set `dataset.leading_axes` to {EPISODES} or {ENVIRONMENTS}")
    if meaning == ENVIRONMENTS:
        for key, column in columns.items():
            columns[key] = column[:].swapaxes(0, 1).reshape(-1, *column.shape[2:])
        warnings.append(f"{place} is read as steps of {shape[1]} environments, one environment after the other")
        return RowColumns(columns, _masked(config, path, columns, warnings), shape[0], ENVIRONMENTS, warnings)
    return _episodes(config, path, columns, shape, warnings)


def _masked(config: FlatConfig, path: Path, columns: dict[str, Rows], warnings: list[str]) -> np.ndarray:
    """Whether a row is real, bool "N"; adds to ``warnings`` how many are not."""
    if "mask_key" not in columns:
        return np.ones(len(columns["obs_key"]), bool)
    valid = flag(path, config, "mask_key", columns)
    warnings.append(f"{counted(int((~valid).sum()), 'row')} where `{config.mask_key}` is 0: left out")
    return valid


def flag(path: Path, config: FlatConfig, key: str, columns: dict[str, Rows]) -> np.ndarray:
    """A column of zeros and ones, bool "N". Raises ValueError for other values."""
    column = one_per_step(path, config, key, columns)
    if column.dtype.kind not in "fiub" or not np.isin(column, (0, 1)).all():
        name = getattr(config, key)
        raise ValueError(f"{path}: `{name}` must hold only 0 and 1, one per step; name another column or repair it")
    return column.astype(bool)


def one_per_step(path: Path, config: FlatConfig, key: str, columns: dict[str, Rows]) -> np.ndarray:
    """A column as "N". Raises ValueError if it holds several values per step."""
    shape = columns[key].shape
    if int(np.prod(shape[1:])) != 1:
        problem = f"`{getattr(config, key)}` has shape {list(shape)}, expected one value per step"
        raise ValueError(f"{path}: {problem}; set `dataset.{key}` to another column")
    return columns[key][:].reshape(-1)


def _without_unit_axis(config: FlatConfig, columns: dict[str, Rows]) -> tuple[dict[str, Rows], list[str]]:
    """Columns "N 1 O" as "N O", which is what one environment of a vector of environments leaves."""
    if columns["obs_key"].ndim < 3 or columns["obs_key"].shape[1] != 1:
        return dict(columns), []
    unit = [key for key, column in columns.items() if column.ndim >= 3 and column.shape[1] == 1]
    names = ", ".join(f"`{getattr(config, key)}` {list(columns[key].shape)}" for key in unit)
    squeezed = {key: joined_axes(column, 1) if key in unit else column for key, column in columns.items()}
    return squeezed, [f"{names}: the second axis, of length 1, is removed (one environment)"]


def _unwritten(columns: dict[str, Rows]) -> int:
    """Number of rows at the end that are zero in all columns; 0 if there is a single one, or no other row."""
    numbers: list[Rows] = [column for key, column in columns.items() if key != "episode_key"]
    numbers.sort(key=lambda column: not isinstance(column, np.ndarray))  # those in memory first: they mostly decide
    rows = len(columns["obs_key"])
    for column in numbers:
        rows = _zero_tail(column, rows)
        if rows < FEWEST:
            return 0
    return rows if rows < len(columns["obs_key"]) else 0


def _zero_tail(column: Rows, most: int) -> int:
    """Number of rows at the end that are zero, counted up to ``most``."""
    rows, step = 0, max(1, CHUNK // max(1, int(np.prod(column.shape[1:]))))
    while rows < most:
        count = min(step, most - rows)
        part = column[len(column) - rows - count : len(column) - rows]
        zero = int(np.logical_and.accumulate((part.reshape(count, -1) == 0).all(axis=1)[::-1]).sum())
        rows += zero
        if zero < count:
            break
    return rows


def _two_axes(columns: dict[str, Rows]) -> tuple[int, int] | None:
    """Lengths of the two leading axes; None if there is one. Observations may have one more step than actions."""
    obs, action = columns["obs_key"], columns["action_key"]
    scalars = [column for key, column in columns.items() if key not in ("obs_key", "action_key", "next_obs_key")]
    shapes = {column.shape[:2] for column in scalars} | {action.shape[:2]}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) < 2 or shape[1] < 2 or obs.ndim < 2 or not scalars:
        return None
    return (shape[0], shape[1]) if obs.shape[0] == shape[0] and obs.shape[1] - shape[1] in (0, 1) else None


def _meaning(columns: dict[str, Rows], shape: tuple[int, int]) -> str | None:
    """What the two leading axes are, where the columns leave no doubt; else None."""
    obs, next_obs = columns["obs_key"], columns.get("next_obs_key")
    if "mask_key" in columns or obs.shape[1] > shape[1]:
        return EPISODES
    if next_obs is not None and shape[0] > 1:
        now, after = obs[: CHUNK // obs.shape[1]], next_obs[: CHUNK // obs.shape[1]]
        along_steps, along_rows = np.mean(now[:, 1:] == after[:, :-1]), np.mean(now[1:] == after[:-1])
        return None if along_steps == along_rows else EPISODES if along_steps > along_rows else ENVIRONMENTS
    marks = [columns[key][:].reshape(shape) != 0 for key in ("terminal_key", "timeout_key") if key in columns]
    if not marks:
        return None
    ends = np.logical_or.reduce(marks)
    if ends[:, -1].all() and (ends[:, 1:] >= ends[:, :-1]).all():
        return EPISODES  # each ends once, and padding keeps the mark
    return ENVIRONMENTS if ends.all(axis=1).any() else None  # all environments end at once


def _episodes(
    config: FlatConfig, path: Path, columns: dict[str, Rows], shape: tuple[int, int], warnings: list[str]
) -> RowColumns:
    """Padded episodes end to end."""
    place = f"`{config.obs_key}` {list(columns['obs_key'].shape)}"
    rows = {key: joined_axes(column, shape[1]) for key, column in columns.items()}
    if columns["obs_key"].shape[1] > shape[1]:
        rows["next_obs_key"] = joined_axes(columns["obs_key"], shape[1], first=1)
    if "mask_key" in columns:
        valid, reason = flag(path, config, "mask_key", rows), f"`{config.mask_key}` is 0"
    else:
        valid, reason = ~_padding(rows, shape), "after an end mark, or empty at the end of an episode"
    padded = counted(int((~valid).sum()), "padded row")
    warnings.append(f"{place} is read as {shape[0]} episodes of up to {shape[1]} steps; {padded} ({reason}) left out")
    return RowColumns(rows, valid, shape[1], EPISODES, warnings)


def _padding(rows: dict[str, Rows], shape: tuple[int, int]) -> np.ndarray:
    """Whether a row is padding, bool "N": it follows the end mark where all rows do so to the end, or all rows to the
    end have no observation (NaN) or zeros in every column."""
    blank = np.zeros(shape[0] * shape[1], bool)
    for start in range(0, len(blank), step := max(1, CHUNK // shape[1]) * shape[1]):
        part = {key: column[start : start + step] for key, column in rows.items() if key in _FILLED}
        zero = [(column.reshape(len(column), -1) == 0).all(axis=1) for column in part.values()]
        obs = part["obs_key"].reshape(len(zero[0]), -1)
        blank[start : start + step] = np.logical_and.reduce(zero) | np.isnan(obs).all(axis=1)
    trailing = np.logical_and.accumulate(blank.reshape(shape)[:, ::-1], axis=1)[:, ::-1]
    marks = [rows[key][:].reshape(shape) != 0 for key in ("terminal_key", "timeout_key") if key in rows]
    ends = np.logical_or.reduce(marks) if marks else np.zeros(shape, bool)
    if (ends[:, 1:] >= ends[:, :-1]).all():
        trailing[:, 1:] |= ends[:, :-1]
    return trailing.reshape(-1)


_FILLED = ("obs_key", "action_key", "reward_key")
