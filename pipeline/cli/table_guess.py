"""Guess the block of params.yaml that reads a table."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from pipeline.cli import column_content as content
from pipeline.cli import column_names as naming
from pipeline.cli.guess import Guess, ask_for_reward, head, some
from pipeline.cli.roles import Roles
from pipeline.cli.table_roles import assign_roles
from pipeline.cli.table_sample import DATE, LIST, NUMBER, TEXT, Sample, SampleColumn, read_sample
from pipeline.envs.action_space import CONTINUOUS, DISCRETE
from pipeline.ingest.sources.dialect import TextOptions
from pipeline.ingest.sources.table_files import file_notes
from pipeline.ingest.sources.table_folder import table_files
from pipeline.params import build

MOST_CHOICES = 64  # different whole numbers of an action that may be choices
ABSENT = {
    "terminal_column": "no such column: no episode terminates",
    "episode_column": "no such column: each file is one episode",
    "time_column": "no such column: rows are in order and evenly spaced",
}


def guess_table(path: Path, options: dict[str, object]) -> Guess:
    """The guess for a table or a folder of tables, read with the given ``options`` of the source.

    Raises ValueError for tables that cannot be read, have no observations, or are in another form than a row a step.
    """
    files = table_files(path, text_options(options))
    time_format = options.get("time_format")
    sample = read_sample(files, time_format if isinstance(time_format, str) else None)
    check_form(path, sample)
    roles = assign_roles(sample)
    if not roles.obs:
        fix = "add columns with observations"
        raise ValueError(f"{path}: no column is left for observations (columns: {', '.join(sample.columns)}); {fix}")
    guess = head(path, "table")
    recognized = files[0].dialect.options if files[0].dialect else {}
    guess.block |= {**recognized, **options, "obs_columns": roles.obs}
    _add_inputs(guess, roles)
    _add_actions(guess, roles)
    guess.block |= {key: roles.single.get(key) for key in SINGLE}
    if of_day := roles.single.get("time_of_day_column"):
        guess.block["time_of_day_column"] = of_day
    guess.unsure |= roles.unsure | {key: text for key, text in ABSENT.items() if roles.single.get(key) is None}
    _add_time_format(guess, roles)
    if roles.single.get("reward_column") is None:
        names = [name for name in roles.obs if naming.REWARDS & set(naming.tokens(name))]
        ask_for_reward(guess, "reward_column", names)
    _add_missing(guess, roles)
    guess.columns = [_cells(roles, column) for column in sample.columns.values()]
    guess.notes = [*file_notes(files), *_size(roles, len(files)), *_left_out(roles)]
    return guess


def text_options(options: dict[str, object]) -> TextOptions:
    """Those of the options that say how text files are written."""
    names = [field.name for field in dataclasses.fields(TextOptions)]
    return build(TextOptions, {key: value for key, value in options.items() if key in names}, "dataset")


SINGLE = ("reward_column", "terminal_column", "timeout_column", "episode_column", "time_column")


def check_form(path: Path, sample: Sample) -> None:
    """Raises ValueError for a table that has a row for each tag or for each episode."""
    names = list(sample.columns)
    lower = {name.strip().lower() for name in names}
    if {"r", "l"} <= lower <= {"r", "l", "t", "index", ""}:
        fix = "log every step, for example with Minari's DataCollector"
        raise ValueError(f"{path}: one row an episode (r: return, l: length), no observations or actions; {fix}")
    if sample.headless and len(names) > len(sample):
        fix = "turn it: `numpy.savetxt(new, numpy.loadtxt(file).T)`"
        raise ValueError(f"{path}: {len(names)} columns without names, but {len(sample)} rows: rows are columns; {fix}")
    for column in sample.columns.values():
        if column.kind == TEXT and all(re.fullmatch(r"[\[(].*[\])]", text, re.DOTALL) for text in column.texts):
            fix = "write one column a number, or arrays as npz or Parquet"
            raise ValueError(
                f"{path}: column `{column.name}` has arrays as text, such as `{column.texts[0][:40]}`; {fix}"
            )
    tag = naming.match_name(names, tuple(naming.TAG_NAMES))
    value = naming.match_name(names, tuple(naming.VALUE_NAMES))
    if tag is None or value is None or sample.columns[tag].kind not in (TEXT, NUMBER):
        return
    times = [c.name for c in sample.columns.values() if c.kind == DATE or naming.is_time(c.name)]
    texts = sample.columns[tag]
    if times and 1 < len(np.unique(texts.filled)) < len(sample) and sample.columns[value].kind == NUMBER:
        pivot = f"pandas.read_csv(...).pivot_table(index={times[0]!r}, columns={tag!r}, values={value!r}).to_csv(...)"
        raise ValueError(
            f"{path}: one row a value (`{tag}` says of what), not a row a step; make a column of each: {pivot}"
        )


def _add_inputs(guess: Guess, roles: Roles) -> None:
    others = [name for names in roles.left_out.values() for name in names]
    guess.unsure["obs_columns"] = f"without {some(others)}" if others else "all other columns"
    if roles.next_obs:
        guess.block["next_obs_columns"] = roles.next_obs
    if roles.exogenous:
        guess.block["exogenous_columns"] = roles.exogenous
        guess.unsure["exogenous_columns"] = "inferred from their names: inputs that no action changes"
    if group := roles.single.get("group_column"):
        guess.block["group_column"] = group
    held = {n: rows for n in roles.obs if (rows := content.held_rows(roles.sample.columns[n], roles.starts))}
    if held and len(held) < len(roles.obs):
        guess.block["update_every"] = held
        guess.unsure["update_every"] = "these keep a value for several rows: measured less often than logged"


def _add_actions(guess: Guess, roles: Roles) -> None:
    guess.block["action_columns"] = roles.action
    if not roles.action:
        if texts := roles.left_out.get("actions as text"):
            some_values = some(sorted(roles.sample.columns[texts[0]].texts)[:3])
            fix = "number its values in a new column, and set `action_kind: discrete`"
            guess.undecided.append(f"`action_columns`: `{texts[0]}` is text ({some_values}); {fix}")
            guess.unsure["action_columns"] = "the actions are text"
            return
        candidates = [name for name in roles.obs if naming.may_be_actuator(name)]
        guess.undecided.append(f"`action_columns`: what the policy sets{_candidates(candidates)}")
        guess.unsure["action_columns"] = (
            "no name looks like an action: list them here, and remove them from obs_columns"
        )
        return
    if roles.action_offset:
        late = ("action_offset", "reward_offset") if roles.single.get("reward_column") else ("action_offset",)
        guess.block |= dict.fromkeys(late, 1)
        guess.unsure |= {key: f"each row has the {key.partition('_')[0]} of the step that led to it" for key in late}
    columns = [roles.sample.columns[name] for name in roles.action]
    if len(columns) == 1 and columns[0].whole and len(np.unique(columns[0].filled)) <= MOST_CHOICES:
        amounts = naming.is_actuator(roles.action[0]) and not content.is_binary(columns[0])
        guess.block["action_kind"] = CONTINUOUS if amounts else DISCRETE
        guess.unsure["action_kind"] = "actions are whole numbers: discrete if they are choices, else continuous"


def _add_time_format(guess: Guess, roles: Roles) -> None:
    """The format of ambiguous dates, and the unit of times since 1970."""
    name = roles.single.get("time_column")
    if name is None or guess.block.get("time_format") is not None:
        return
    column = roles.sample.columns[name]
    if column.formats:
        first, second = column.formats
        guess.block["time_format"] = first
        guess.unsure["time_format"] = f"or {second}: no date tells days from months"
    elif (unit := content.epoch_unit(column)) is not None:
        guess.block["time_format"] = unit
        guess.unsure["time_format"] = "the times look like counts since 1970"


def _candidates(names: list[str]) -> str:
    return f" (candidates: {some(names)})" if names else ""


def _add_missing(guess: Guess, roles: Roles) -> None:
    """Words and numbers that mean a missing value, and what to do with missing cells."""
    used = [*roles.obs, *roles.next_obs, *roles.action, *roles.exogenous, *filter(None, roles.single.values())]
    columns = [roles.sample.columns[name] for name in used]
    words = sorted({word for c in columns if c.kind == NUMBER for word in c.texts})
    numbers = sorted({f"{n:g}" for c in columns if (n := content.sentinel(c)) is not None})
    if words or numbers:
        guess.block["na_values"] = [*words, *numbers]
        guess.unsure["na_values"] = "cells that look like missing values"
    inputs = [roles.sample.columns[name] for name in (*roles.obs, *roles.exogenous)]
    gaps = [c for c in inputs if c.missing or (c.kind == NUMBER and (c.texts or content.sentinel(c) is not None))]
    if not gaps:
        return
    last = np.r_[roles.starts[1:], len(roles.sample)] - 1
    at_end = all(not c.texts and set(np.flatnonzero(np.isnan(c.values))) <= set(last) for c in gaps)
    guess.block["missing"] = "last" if at_end and not numbers else "mask"
    guess.unsure["missing"] = f"empty cells in {some([c.name for c in gaps])}"


def _cells(roles: Roles, column: SampleColumn) -> tuple[str, str, str]:
    """Name, kind and range of a column."""
    empty = f", {round(100 * column.missing, 1):g} % empty" if column.missing else ""
    if column.kind == LIST:
        return column.name, f"list[{column.width}]", ""
    if column.kind == TEXT:
        return column.name, TEXT, f"{len(np.unique(column.filled))} values{empty}"
    if not len(column.filled) or column.kind == DATE:
        return column.name, column.kind, empty.removeprefix(", ")
    return column.name, column.kind, f"{column.filled.min():.5g} to {column.filled.max():.5g}{empty}"


def _size(roles: Roles, files: int) -> list[str]:
    edges = np.r_[roles.starts, len(roles.sample)]
    lengths = np.diff(edges)
    what = f"{len(roles.sample)} rows" if roles.sample.complete else f"the first {len(roles.sample)} rows"
    several = f" of {files} files" if files > 1 else ""
    spread = f"{lengths.min()} to {lengths.max()}" if lengths.min() < lengths.max() else f"{lengths.max()}"
    episodes = f"{len(lengths)} episodes of {spread} rows" if len(lengths) > 1 else "one episode"
    return [f"{what}{several}: {episodes}"]


def _left_out(roles: Roles) -> list[str]:
    lines = [f"left out, {reason}: {some(names)}" for reason, names in roles.left_out.items()]
    inputs = [roles.sample.columns[name] for name in (*roles.obs, *roles.exogenous)]
    if constant := [c.name for c in inputs if c.constant]:
        lines.append(f"constant, but kept: {some(constant)}")
    if static := [c.name for c in inputs if content.is_static(c, roles.starts)]:
        lines.append(f"constant within each episode, and kept: {some(static)}")
    return lines
