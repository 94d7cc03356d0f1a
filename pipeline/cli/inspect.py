"""``inspect FILE``: print the ``dataset:`` block that reads a log, and a summary of the log."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.cli.action_bounds import round_bounds
from pipeline.cli.guess import Guess
from pipeline.cli.layouts import guess_layout
from pipeline.data.episode import Episode, LoggedData
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.table_gaps import UnevenError
from pipeline.ingest.validate import arrays_of
from pipeline.params import choose

RESERVED = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
PLAIN = re.compile(r"[A-Za-z_./][\w./ -]*(:\w[\w./-]*)*")


@dataclass
class Survey:
    """Statistics of all episodes, in one pass. ``low`` and ``high`` are the extremes of each array's entries."""

    lengths: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    shapes: dict[str, tuple[list[int], str]] = field(default_factory=dict)
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)
    at_low: np.ndarray = field(default_factory=lambda: np.zeros(1))
    at_high: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def note(self, episode: Episode) -> None:
        """Add an episode."""
        self.lengths.append(len(episode.action))
        self.returns.append(float(episode.reward.sum(dtype=np.float64)))
        self.terminated.append(episode.terminated)
        for name, array in arrays_of(episode).items():
            rows = array.reshape(len(array), -1)
            low, high = rows.min(axis=0), rows.max(axis=0)
            if name == "action":
                self._count(rows, low, high)
            self.shapes[name] = (list(array.shape[1:]), str(array.dtype))
            self.low[name] = np.minimum(self.low.get(name, low), low)
            self.high[name] = np.maximum(self.high.get(name, high), high)

    def _count(self, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """Count how often the actions "T A" take the extremes so far."""
        old_low, old_high = self.low.get("action", low + 1), self.high.get("action", high - 1)
        new_low, new_high = np.minimum(old_low, low), np.maximum(old_high, high)
        self.at_low = np.where(old_low > new_low, 0, self.at_low) + (action == new_low).sum(axis=0)
        self.at_high = np.where(old_high < new_high, 0, self.at_high) + (action == new_high).sum(axis=0)


def inspect_log(path: Path, options: Mapping[str, object] | None = None) -> Iterator[str]:
    """Lines of YAML: comments and the block. Raises ValueError for logs that no source reads.

    ``options`` of the source are used to read the log, and stand in the block.
    """
    comments, block = examine_log(path, options)
    yield from comments
    yield from block


def examine_log(path: Path, options: Mapping[str, object] | None = None) -> tuple[list[str], list[str]]:
    """What stands in the log, as lines of comments, and the lines of the block. Raises as :func:`inspect_log` does."""
    guess = guess_layout(path, dict(options or {}))
    comments = [*_columns(path, guess), *(f"# {note}" for note in guess.notes)]
    _add_environment(guess, None)
    if guess.undecided:
        comments += [f"# not read yet: set {', and '.join(guess.undecided)}"]
    if guess.block.get("action_columns") == []:
        guess.block |= {"action_low": None, "action_high": None}
        guess.unsure["action_low"] = "no action is named yet; null: the range of the log, with a warning"
        return comments, block_lines(guess)
    try:
        logged, survey = _read(guess)
    except ValueError as error:
        if guess.block["source"] != "table":
            raise
        return [*comments, f"# not read yet: {error}"], block_lines(guess)
    _check_terminals(guess, survey)
    _check_split(guess, len(survey.lengths))
    _add_environment(guess, logged)
    if logged.action_low is None:
        _add_bounds(guess, survey)
    return [*comments, *_summary(guess, logged, survey)], block_lines(guess)


def block_lines(guess: Guess) -> list[str]:
    """The ``dataset:`` block as lines of YAML, with a comment on each uncertain value."""
    notes = {key: f"  # unsure: {text}" for key, text in guess.unsure.items()}
    return ["dataset:", *(f"  {key}: {_yaml(value)}{notes.get(key, '')}" for key, value in guess.block.items())]


def _yaml(value: object) -> str:
    plain = isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in RESERVED
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _read(guess: Guess) -> tuple[LoggedData, Survey]:
    """Read the log with its source, which shows that the block works. Sets ``resample`` if rows are unevenly spaced."""
    stand_in = {} if _has_reward(guess) else {"transform": "none:yet"}
    source, config = choose(SOURCES, guess.block | stand_in, "dataset", key="source")
    survey = Survey()
    try:
        logged = source(config).read()
        for episode in logged.episodes:
            survey.note(episode)
    except UnevenError as error:
        guess.block["resample"] = _rounded(error.step)
        guess.unsure["resample"] = "rows are not evenly spaced; this is about their median distance"
        return _read(guess)
    if not survey.lengths:
        raise ValueError(f"{logged.place}: holds no episodes; name another log")
    return logged, survey


def _rounded(step: float) -> float:
    """The step with as few digits as keep it within one percent."""
    choices = (float(f"{step:.{digits}g}") for digits in range(1, 7))
    return next(choice for choice in choices if abs(choice - step) <= 0.01 * step)


def _check_terminals(guess: Guess, survey: Survey) -> None:
    """Mark the terminal column as uncertain if most terminals are at the maximal length, as time limits are."""
    ends = np.array(survey.lengths)[survey.terminated]
    longest = int((ends == max(survey.lengths)).sum())
    key = "terminal_column" if guess.block["source"] == "table" else "terminal_key"
    if guess.block["source"] == "minari" or longest < 2 or longest < len(ends) / 2:
        return
    config = choose(SOURCES, guess.block, "dataset", key="source")[1]
    guess.block.setdefault(key, getattr(config, key))
    reason = f"{longest} of {len(ends)} terminations are at the maximal length, {max(survey.lengths)} steps"
    fix = f"if they are time limits, set {key.replace('terminal', 'timeout')} to this column and {key} to null"
    guess.unsure[key] = f"{reason}; {fix}"


def _check_split(guess: Guess, episodes: int) -> None:
    if episodes == 1 and guess.block["path"] == guess.block["held_out_path"]:
        guess.block["split"] = "last"
        guess.unsure["split"] = "the log is one episode: its last part is held out"


def _add_environment(guess: Guess, logged: LoggedData | None) -> None:
    guess.block["env_id"] = None
    if logged is not None and logged.env_id:
        guess.unsure["env_id"] = f"null uses {logged.env_id}, which the log names"
    else:
        guess.unsure["env_id"] = "the log names none that can be made here; without one, only evaluation is skipped"


def _add_bounds(guess: Guess, survey: Survey) -> None:
    low, high = (side["action"].astype(np.float64) for side in (survey.low, survey.high))
    if guess.block.get("action_kind") == DISCRETE:
        guess.block |= {"action_low": low.tolist(), "action_count": int(high[0] - low[0]) + 1}
        guess.unsure["action_count"] = f"the log has {low[0]:g} to {high[0]:g}"
        return
    guess.block["action_low"], guess.block["action_high"] = round_bounds(low, high, survey.at_low, survey.at_high)
    guess.unsure["action_low"] = f"the log's extremes are {_short(low)}"
    guess.unsure["action_high"] = f"the log's extremes are {_short(high)}"


def _short(values: np.ndarray) -> str:
    text = ", ".join(f"{value:.4g}" for value in values[:6])
    return f"{text}, ..." if len(values) > 6 else text


def _has_reward(guess: Guess) -> bool:
    return all(guess.block.get(key, "") is not None for key in ("reward_column", "reward_key"))


def _columns(path: Path, guess: Guess) -> list[str]:
    width = max((len(name) for name, *_ in guess.columns), default=0)
    rows = ("  ".join([f"{name:<{width}}", *(f"{cell:<10}" for cell in cells)]) for name, *cells in guess.columns)
    return [f"# {path}", *(f"#   {row.rstrip()}" for row in rows)]


def _summary(guess: Guess, logged: LoggedData, survey: Survey) -> Iterator[str]:
    lengths, returns = np.array(survey.lengths), np.array(survey.returns)
    also = ", train and held-out" if guess.block["path"] != guess.block["held_out_path"] else ""
    yield f"# {lengths.sum()} steps in {len(lengths)} episodes of {lengths.min()} to {lengths.max()}{also}"
    dropped = logged.dropped + logged.remarks.dropped
    yield f"# {sum(survey.terminated)} terminations, {dropped} steps dropped"
    if _has_reward(guess):
        yield f"# returns {returns.min():.6g} to {returns.max():.6g}, mean {returns.mean():.6g}"
    shapes = {name: shape for name, shape in survey.shapes.items() if name != "reward" or _has_reward(guess)}
    for name, (shape, dtype) in shapes.items():
        low, high = survey.low[name].min(), survey.high[name].max()
        yield f"#   {name:<24} {shape!s:<16} {dtype:<8} {low:.4g} to {high:.4g}"
    for warning in (w for w in (*logged.warnings, *logged.remarks.warnings) if w not in guess.notes):
        yield f"# warning: {warning}"
