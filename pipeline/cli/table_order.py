"""Which columns of a table say where episodes begin and end, in which order their rows are, and what a step earns."""

import numpy as np

from pipeline.cli import column_content as content
from pipeline.cli import column_names as naming
from pipeline.cli.roles import Roles
from pipeline.cli.table_sample import DATE, LIST, NUMBER, TEXT, SampleColumn

DAY = 86_400  # seconds
REPEATED = 0.01  # share of rows that may have the time of another one


def find_episodes(roles: Roles) -> None:
    """The columns of episodes and of groups of episodes, by name, or where a clock starts again."""
    named = [c.name for c in roles.columns() if not c.constant and not c.missing and c.kind in (NUMBER, TEXT)]
    name = naming.match_name(named, naming.TABLE_NAMES["episode_column"])
    unsure = None
    if name is None:
        clocks = [c for c in roles.columns() if _is_clock(c) or _counts_up(c)]
        name = content.episode_column(roles.sample, named, clocks)
        unsure = "the clock starts again or jumps where it changes"
    roles.take("episode_column", name, unsure)
    if name is not None:
        roles.sample = roles.sample.by_episode(name)
    roles.starts = roles.sample.starts(name)
    known = (*naming.TABLE_NAMES["episode_column"], *naming.GROUP_NAMES)
    roles.leave_out("ids", [c.name for c in roles.columns() if c.constant and c.name.strip().lower() in known])
    group = next((alias for alias in naming.GROUP_NAMES if naming.match_name(roles.free, (alias,))), None)
    column = naming.match_name(roles.free, (group,)) if group else None
    static = column is not None and content.is_static(roles.sample.columns[column], roles.starts)
    roles.take("group_column", column if static else None, "constant in every episode: what the episodes belong to")


def _is_clock(column: SampleColumn) -> bool:
    """Whether a column has dates, times since 1970, or the name of a clock."""
    number = column.kind == NUMBER and (naming.is_time(column.name) or content.epoch_unit(column) is not None)
    return column.kind == DATE or number


def _counts_up(column: SampleColumn) -> bool:
    """Whether a column of whole numbers mostly grows by one."""
    return column.whole and 2 * int((np.diff(column.values) == 1).sum()) > len(column.values)


def find_time(roles: Roles) -> None:
    """Dates first, then clocks in the order of their usual names."""
    named = [c for c in roles.columns() if _is_clock(c)]
    ranked = sorted(named, key=lambda c: (c.kind != DATE, _rank(c.name)))
    days = [c for c in ranked if c.kind == DATE and not c.missing and not (np.diff(c.values) % DAY).any()]
    clocks = [c for c in ranked if c.of_day]
    if days and clocks and not _differs(days[0], roles.starts):
        roles.take("time_column", days[0].name)
        roles.take("time_of_day_column", clocks[0].name)
        return
    usable = [c.name for c in ranked if _orders_rows(c, roles.starts)]
    roles.take("time_column", usable[0] if usable else None)
    roles.leave_out("clocks", usable)
    roles.leave_out("times that are empty or repeat", [c.name for c in ranked if c.kind == DATE])


def _orders_rows(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether a column can be the time of the rows. Numbers have to grow, unless their name leaves no doubt."""
    named = column.kind == DATE or column.name.strip().lower() in ("time", "timestamp", "datetime")
    return not column.missing and (_differs(column, starts) if named else content.increases(column, starts))


def _rank(name: str) -> int:
    lower = name.strip().lower()
    return naming.TIME_NAMES.index(lower) if lower in naming.TIME_NAMES else len(naming.TIME_NAMES)


def _differs(column: SampleColumn, starts: np.ndarray) -> bool:
    """Whether hardly any two rows of an episode have the same time: a few rows may be written twice."""
    edges = np.r_[starts, len(column.values)]
    order = np.lexsort((column.values, np.repeat(np.arange(len(starts)), np.diff(edges))))
    difference = np.diff(column.values[order])
    inside = difference[np.setdiff1d(np.arange(len(difference)), starts[1:] - 1)]
    return bool((inside == 0).sum() <= REPEATED * len(inside))


def leave_out_counters(roles: Roles) -> None:
    """Row numbers, clocks and columns without a name are no part of the state."""
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


def find_marks(roles: Roles) -> None:
    """Reward, true ends and time limits."""
    numeric = [c.name for c in roles.columns() if c.kind == NUMBER or (c.kind == LIST and c.width == 1)]
    roles.take("reward_column", naming.match_name(numeric, naming.TABLE_NAMES["reward_column"]))
    if roles.single["reward_column"] is None:
        rewards = [name for name in numeric if {"reward", "rew"} & set(naming.tokens(name))]
        if len(rewards) == 1:
            roles.take("reward_column", rewards[0], "the only name with `reward`")
    roles.leave_out("other rewards", [n for n in roles.free if "reward" in naming.tokens(n)])
    roles.leave_out("results of a run", [n for n in numeric if naming.RESULTS.fullmatch(n.strip().lower())])
    marks = [n for n in roles.free if n in numeric and _is_mark(roles.sample.columns[n])]
    for key in ("terminal_column", "timeout_column"):
        roles.take(key, naming.match_name([n for n in marks if n in roles.free], naming.TABLE_NAMES[key]))
    if ends := [name for key in ("terminal_column", "timeout_column") if (name := roles.single[key])]:
        _split_at_marks(roles, ends)
        return
    column = next((n for n in marks if content.marks_ends(roles.sample.columns[n], roles.starts)), None)
    where = "1 at ends of episodes alone"
    if column is None and roles.single["episode_column"] is None:
        whole_file = roles.sample.starts(None)
        column = next((n for n in marks if content.separates(roles.sample.columns[n], whole_file)), None)
        where = "1 in the last row and in few others: ends of episodes"
    if column is not None:
        _split_at_marks(roles, [column])
        limit = content.ends_are_longest(roles.sample.columns[column], roles.starts)
        key = "timeout_column" if limit else "terminal_column"
        roles.take(key, column, where + (", all of the maximal length: a time limit" if limit else ""))


def _split_at_marks(roles: Roles, names: list[str]) -> None:
    """Without a column of episodes, a new one starts after each mark of an end."""
    columns = [roles.sample.columns[name] for name in names]
    if roles.single["episode_column"] is None and all(column.kind == NUMBER for column in columns):
        marked = np.flatnonzero(np.any([column.values == 1 for column in columns], axis=0)) + 1
        roles.starts = np.union1d(roles.starts, marked[marked < len(roles.sample)])


def _is_mark(column: SampleColumn) -> bool:
    return column.kind == LIST or set(np.unique(column.filled)) <= {0.0, 1.0}
