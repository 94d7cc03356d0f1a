"""Which column of a table is what, from names and from the content of the first rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.cli import column_content as content
from pipeline.cli import column_names as naming
from pipeline.cli.table_sample import DATE, EMPTY, LIST, NUMBER, TEXT, Sample, SampleColumn
from pipeline.ingest.sources.table_columns import MOST_CATEGORIES


@dataclass
class Roles:
    """The roles of the columns. ``left_out`` maps a reason to columns that are no part of the state."""

    sample: Sample
    single: dict[str, str | None] = field(default_factory=dict)  # key of params.yaml -> column
    action: list[str] = field(default_factory=list)
    action_offset: bool = False  # the action that led to a row is in that row
    exogenous: list[str] = field(default_factory=list)
    obs: list[str] = field(default_factory=list)
    next_obs: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)
    starts: np.ndarray = field(default_factory=lambda: np.zeros(1, int))
    free: list[str] = field(default_factory=list)  # columns without a role so far

    def columns(self) -> Iterator[SampleColumn]:
        """The columns without a role so far."""
        return (self.sample.columns[name] for name in list(self.free))

    def leave_out(self, reason: str, names: Iterable[str]) -> None:
        """Give the columns no role."""
        for name in list(names):
            if name in self.free:
                self.free.remove(name)
                self.left_out.setdefault(reason, []).append(name)

    def take(self, key: str, name: str | None, unsure: str | None = None) -> None:
        """Make a column the one of ``key``."""
        self.single[key] = name
        if name is not None:
            self.free.remove(name)
            if unsure:
                self.unsure[key] = unsure


def assign_roles(sample: Sample) -> Roles:
    """The roles of all columns of the sample."""
    roles = Roles(sample, free=list(sample.columns))
    roles.leave_out("empty", [c.name for c in roles.columns() if c.kind == EMPTY or _only_sentinels(c)])
    _find_episodes(roles)
    _find_time(roles)
    _leave_out_counters(roles)
    _find_marks(roles)
    _find_groups(roles)
    _find_next_by_name(roles)
    _find_actions(roles)
    _leave_out_labels(roles)
    _find_observations(roles)
    _find_next_by_content(roles)
    return roles


def _only_sentinels(column: SampleColumn) -> bool:
    return column.kind == NUMBER and content.sentinel(column) is not None and column.constant


def _find_episodes(roles: Roles) -> None:
    named = [c.name for c in roles.columns() if not c.constant and not c.missing and c.kind in (NUMBER, TEXT)]
    name = naming.match_name(named, naming.TABLE_NAMES["episode_column"])
    unsure = None
    if name is None:
        clocks = [c for c in roles.columns() if c.kind == DATE or naming.is_time(c.name) or _counts_up(c)]
        name = content.episode_column(roles.sample, named, clocks)
        unsure = "the clock starts again or jumps where it changes"
    roles.take("episode_column", name, unsure)
    if name is not None:
        roles.sample = roles.sample.by_episode(name)
    roles.starts = roles.sample.starts(name)
    group = next((alias for alias in naming.GROUP_NAMES if naming.match_name(roles.free, (alias,))), None)
    column = naming.match_name(roles.free, (group,)) if group else None
    static = column is not None and content.is_static(roles.sample.columns[column], roles.starts)
    roles.take("group_column", column if static else None, "constant in every episode: what the episodes belong to")


def _counts_up(column: SampleColumn) -> bool:
    """Whether a column of whole numbers mostly grows by one."""
    return column.whole and 2 * int((np.diff(column.values) == 1).sum()) > len(column.values)


def _find_time(roles: Roles) -> None:
    """Dates first, then clocks in the order of their usual names."""
    named = [c for c in roles.columns() if c.kind == DATE or (c.kind == NUMBER and naming.is_time(c.name))]
    ranked = sorted(named, key=lambda c: (c.kind != DATE, _rank(c.name)))
    usable = [c for c in ranked if not c.missing and _differs(c, roles.starts)]
    roles.take("time_column", usable[0].name if usable else None)
    roles.leave_out("clocks", [c.name for c in ranked])


def _rank(name: str) -> int:
    lower = name.strip().lower()
    return naming.TIME_NAMES.index(lower) if lower in naming.TIME_NAMES else len(naming.TIME_NAMES)


def _differs(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether no two rows of an episode have the same time."""
    edges = np.r_[starts, len(column.values)]
    order = np.lexsort((column.values, np.repeat(np.arange(len(starts)), np.diff(edges))))
    difference = np.diff(column.values[order])
    return bool((difference[np.setdiff1d(np.arange(len(difference)), starts[1:] - 1)] > 0).all())


def _leave_out_counters(roles: Roles) -> None:
    whole_file = roles.sample.starts(None)
    nameless = [
        c.name for c in roles.columns() if c.name in roles.sample.nameless or naming.NAMELESS.fullmatch(c.name.strip())
    ]
    roles.leave_out("without a name", nameless)
    for column in roles.columns():
        counts = content.counts_rows(column, roles.starts) or content.counts_rows(column, whole_file)
        index = column.name.strip().lower() in naming.INDEX_NAMES and content.increases(column, roles.starts)
        if counts or index:
            roles.leave_out("row numbers", [column.name])
    clocks = [c for c in roles.columns() if content.is_clock(c, roles.starts)]
    if clocks and roles.single["time_column"] is None:
        roles.take("time_column", clocks[0].name, "it grows by the same amount in each row")
        clocks = clocks[1:]
    roles.leave_out("clocks", [c.name for c in clocks])


def _find_marks(roles: Roles) -> None:
    """Reward, true ends and time limits."""
    numeric = [c.name for c in roles.columns() if c.kind == NUMBER or (c.kind == LIST and c.width == 1)]
    roles.take("reward_column", naming.match_name(numeric, naming.TABLE_NAMES["reward_column"]))
    if roles.single["reward_column"] is None:
        rewards = [name for name in numeric if {"reward", "rew"} & set(naming.tokens(name))]
        if len(rewards) == 1:
            roles.take("reward_column", rewards[0], "the only name with `reward`")
    roles.leave_out("other rewards", [n for n in roles.free if "reward" in naming.tokens(n)])
    marks = [n for n in roles.free if n in numeric and _is_mark(roles.sample.columns[n])]
    for key in ("terminal_column", "timeout_column"):
        roles.take(key, naming.match_name([n for n in marks if n in roles.free], naming.TABLE_NAMES[key]))
    if ends := [name for key in ("terminal_column", "timeout_column") if (name := roles.single[key])]:
        _split_at_marks(roles, ends)
        return
    found = next((n for n in marks if content.marks_ends(roles.sample.columns[n], roles.starts)), None)
    where = "1 at ends of episodes alone"
    if found is None and roles.single["episode_column"] is None:
        whole_file = roles.sample.starts(None)
        found = next((n for n in marks if content.separates(roles.sample.columns[n], whole_file)), None)
        where = "1 in the last row and in few others: ends of episodes"
    if found is not None:
        _split_at_marks(roles, [found])
        limit = content.ends_are_longest(roles.sample.columns[found], roles.starts)
        key = "timeout_column" if limit else "terminal_column"
        roles.take(key, found, where + (", all of the maximal length: a time limit" if limit else ""))


def _split_at_marks(roles: Roles, names: list[str]) -> None:
    """Without a column of episodes, a new one starts after each mark of an end."""
    columns = [roles.sample.columns[name] for name in names]
    if roles.single["episode_column"] is None and all(column.kind == NUMBER for column in columns):
        marked = np.flatnonzero(np.any([column.values == 1 for column in columns], axis=0)) + 1
        roles.starts = np.union1d(roles.starts, marked[marked < len(roles.sample)])


def _is_mark(column: SampleColumn) -> bool:
    return column.kind == LIST or set(np.unique(column.filled)) <= {0.0, 1.0}


def _find_groups(roles: Roles) -> None:
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


def _find_next_by_name(roles: Roles) -> None:
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


def _find_actions(roles: Roles) -> None:
    last = np.r_[roles.starts[1:], len(roles.sample)] - 1
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
        roles.unsure["action_columns"] = reason
    roles.free = [name for name in roles.free if name not in roles.action]


def _leave_out_labels(roles: Roles) -> None:
    """Ids, marks of quality, dates, and text with too many values."""
    roles.leave_out("dates", [c.name for c in roles.columns() if c.kind == DATE])
    flags = [c.name for c in roles.columns() if content.is_binary(c) and content.marks_missing(c, roles.sample)]
    roles.leave_out("marks of missing values", flags)
    for column in roles.columns():
        words = set(naming.tokens(column.name))
        if _is_quality(column, words):
            roles.leave_out("marks of quality", [column.name])
        elif column.kind == TEXT and len(column.texts) > MOST_CATEGORIES:
            roles.leave_out(f"text with over {MOST_CATEGORIES} different values", [column.name])
        elif column.kind == TEXT and column.constant:
            roles.leave_out("constant text", [column.name])
        elif words & naming.ID_TOKENS and (column.whole or column.kind == TEXT):
            roles.leave_out("ids", [column.name])


def _is_quality(column: SampleColumn, words: set[str]) -> bool:
    good = {text.lower() for text in column.texts} & {"good", "ok", "{ok}", "valid", "normal", "192"}
    codes = column.kind == NUMBER and set(np.unique(column.filled)) <= {0, 64, 192} and 192 in column.filled
    return bool(words & naming.QUALITY) and (bool(good) or codes)


def _find_observations(roles: Roles) -> None:
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


def _find_next_by_content(roles: Roles) -> None:
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
