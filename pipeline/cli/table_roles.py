"""Which column of a table is what, from names and from the content of the first rows."""

from pipeline.cli import column_content as content
from pipeline.cli.roles import Roles
from pipeline.cli.table_order import find_episodes, find_marks, find_time, leave_out_counters
from pipeline.cli.table_sample import EMPTY, NUMBER, Sample, SampleColumn
from pipeline.cli.table_state import (
    find_actions,
    find_groups,
    find_next_by_content,
    find_next_by_name,
    find_observations,
    leave_out_labels,
)


def assign_roles(sample: Sample) -> Roles:
    """The roles of all columns of the sample."""
    roles = Roles(sample, free=list(sample.columns))
    roles.leave_out("empty", [c.name for c in roles.columns() if c.kind == EMPTY or _only_sentinels(c)])
    find_episodes(roles)
    find_time(roles)
    leave_out_counters(roles)
    find_marks(roles)
    find_groups(roles)
    find_next_by_name(roles)
    find_actions(roles)
    leave_out_labels(roles)
    find_observations(roles)
    find_next_by_content(roles)
    return roles


def _only_sentinels(column: SampleColumn) -> bool:
    return column.kind == NUMBER and content.sentinel(column) is not None and column.constant
