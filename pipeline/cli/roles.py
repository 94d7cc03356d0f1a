"""Columns of a table and their roles."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.cli.table_sample import Sample, SampleColumn


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
