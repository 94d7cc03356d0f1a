"""Which columns of a table are actions, inputs, observations and next observations, and which are none of them."""

import numpy as np

from pipeline.cli import column_content as content
from pipeline.cli import column_names as naming
from pipeline.cli.guess import some
from pipeline.cli.roles import Roles
from pipeline.cli.table_sample import DATE, LIST, NUMBER, TEXT, SampleColumn
from pipeline.ingest.sources.table_columns import MOST_CATEGORIES


def find_groups(roles: Roles) -> None:
    """Names such as ``o:HR`` and ``a:dose`` say their roles before the sign."""
    prefix = {name: found[1].lower()[0] for name in roles.free if (found := naming.GROUP_PREFIX.match(name))}
    if not {"o", "a"} <= set(prefix.values()):
        return
    roles.action = [name for name in roles.free if prefix.get(name) == "a"]
    rewards = [name for name in roles.free if prefix.get(name) == "r"]
    if rewards and roles.single["reward_column"] is None:
        roles.take("reward_column", rewards[0])
    others = [name for name in roles.free if prefix.get(name) not in ("o", "a")]
    roles.leave_out("of another group than `o:` and `a:`", others)
    roles.free = [name for name in roles.free if name not in roles.action]
    roles.unsure["action_columns"] = "inferred from their names"


def find_next_by_name(roles: Roles) -> None:
    """Columns of the next state, such as ``next_x`` beside ``x``."""
    lower = {name.strip().lower(): name for name in roles.free}
    pairs = {}
    for name in roles.free:
        found = next((lower[text] for text in naming.next_name(name.strip()) if text in lower), None)
        if found is not None and found != name:
            pairs[name] = found
    pairs = {name: after for name, after in pairs.items() if name not in pairs.values()}
    roles.next_obs = list(pairs.values())
    if pairs:
        roles.unsure["next_obs_columns"] = "inferred from their names"
        roles.obs = list(pairs)
        roles.free = [name for name in roles.free if name not in pairs and name not in pairs.values()]


def find_actions(roles: Roles) -> None:
    """Actions by name, or by empty cells at the ends of episodes."""
    last = np.r_[roles.starts[1:], len(roles.sample)] - 1
    texts = [c.name for c in roles.columns() if c.kind == TEXT and naming.ACTION.match(c.name.strip())]
    roles.leave_out("actions as text", texts)
    numeric = [c.name for c in roles.columns() if c.kind in (NUMBER, LIST)]
    own = [name for name in numeric if not naming.is_exogenous(name)]
    by_name = [name for name in own if naming.ACTION.match(name.strip())]
    at_end = [name for name in own if content.empty_in(roles.sample.columns[name], last)]
    at_start = [name for name in own if content.empty_in(roles.sample.columns[name], roles.starts)]
    actuators = [name for name in own if naming.is_actuator(name)]
    choices = (
        (roles.action, roles.unsure.get("action_columns", "")),
        (by_name, "inferred from their names"),
        (at_end, "empty in the last row of every episode, as actions are"),
        (at_start, "empty in the first row of every episode: the action that led to a row"),
        (actuators, "inferred from their names"),
    )
    roles.action, reason = next(((names, why) for names, why in choices if names), ([], ""))
    roles.action = [n for n in roles.action if not roles.sample.columns[n].constant] or roles.action
    roles.action_offset = bool(at_start) and set(roles.action) <= set(at_start)
    if reason:
        others = [name for name in own if name not in roles.action and naming.may_be_actuator(name)]
        roles.unsure["action_columns"] = reason + (f"; other candidates: {some(others)}" if others else "")
    roles.free = [name for name in roles.free if name not in roles.action]


def leave_out_labels(roles: Roles) -> None:
    """Ids, marks of quality, dates, and text with too many values."""
    roles.leave_out("dates", [c.name for c in roles.columns() if c.kind == DATE])
    flags = [c.name for c in roles.columns() if content.is_binary(c) and content.marks_missing(c, roles.sample)]
    roles.leave_out("marks of missing values", flags)
    for column in roles.columns():
        words = naming.tokens(column.name)
        if _is_quality(column, set(words)):
            roles.leave_out("marks of quality", [column.name])
        elif column.kind == TEXT and len(column.texts) > MOST_CATEGORIES:
            roles.leave_out(f"text with over {MOST_CATEGORIES} different values", [column.name])
        elif column.kind == TEXT and column.constant:
            roles.leave_out("constant text", [column.name])
        elif words and words[-1] in naming.ID_TOKENS and (column.whole or column.kind == TEXT):
            roles.leave_out("ids", [column.name])


def _is_quality(column: SampleColumn, words: set[str]) -> bool:
    good = {text.lower() for text in column.texts} & {"good", "ok", "{ok}", "valid", "normal", "192"}
    codes = column.kind == NUMBER and set(np.unique(column.filled)) <= {0, 64, 192} and 192 in column.filled
    return bool(words & naming.QUALITY) and (bool(good) or codes)


def find_observations(roles: Roles) -> None:
    """What is left: exogenous inputs by name, and the state."""
    roles.exogenous = [c.name for c in roles.columns() if c.kind in (NUMBER, TEXT) and naming.is_exogenous(c.name)]
    rest = [name for name in roles.free if name not in roles.exogenous]
    named = [name for name in rest if (found := naming.OBS.match(name.strip())) and found[2]]
    named += [name for name in rest if naming.OBS.fullmatch(name.strip()) and roles.sample.columns[name].kind == LIST]
    if named and not roles.next_obs:
        roles.leave_out("not named like the observations", [n for n in rest if n not in named])
    roles.obs += [name for name in roles.free if name not in roles.exogenous and name not in roles.obs]
    if not roles.obs and "row numbers" in roles.left_out:
        roles.obs = roles.left_out.pop("row numbers")
        roles.unsure["obs_columns"] = "these count rows, but no other column is left"


def find_next_by_content(roles: Roles) -> None:
    """Columns that hold what another one holds in the next row."""
    if roles.next_obs:
        return
    pairs = content.next_columns(roles.sample, [*roles.obs, *roles.exogenous], roles.starts)
    old = {
        after for after, now in pairs.items() if {"prev", "previous", "last", "lag", "old"} & set(naming.tokens(now))
    }
    pairs = {after: now for after, now in pairs.items() if after not in old}
    varied = [c for c in map(roles.sample.columns.__getitem__, roles.obs) if not c.constant and c.name not in pairs]
    if pairs and not set(pairs) & set(pairs.values()) and {c.name for c in varied} <= set(pairs.values()):
        after_of = {now: after for after, now in pairs.items()}
        roles.obs = [name for name in roles.obs if name not in pairs and name in after_of]
        roles.next_obs = [after_of[name] for name in roles.obs]
        roles.unsure["next_obs_columns"] = "each holds what the observation is in the next row"
        return
    if pairs:
        roles.left_out["the value that another column has in the next row"] = list(pairs)
    roles.obs = [name for name in roles.obs if name not in pairs]
    roles.exogenous = [name for name in roles.exogenous if name not in pairs]
