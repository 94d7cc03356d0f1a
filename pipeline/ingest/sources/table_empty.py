"""Empty and infinite cells of a table: refused, or held and counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_measured import LAST, REFUSE, first_known, held
from pipeline.ingest.sources.table_rows import Rows
from pipeline.validation import counted

LATE = "set `dataset.action_offset: 1` if a row holds the action that led to it"
LISTED = 5  # columns that a warning names


@dataclass
class EmptyCells:
    """Checks the cells of a log's episodes, and counts those that are empty.

    ``columns`` are the columns that the features of an observation are from.
    """

    config: TableConfig
    columns: list[str]
    place: Callable[[int], str] = field(default=str)  # of a row of the file, in messages
    rows: int = 0
    empty: Counter[str] = field(default_factory=Counter)  # cells of observations, by column
    without_step: int = 0  # rows inside episodes whose action, reward or cost is empty
    late: int = 0  # episodes whose first row has no action
    never: Counter[str] = field(default_factory=Counter)  # episodes without any value of a column
    before_first: int = 0  # rows at the start of episodes that lack a value

    def checked(self, rows: Rows) -> Rows:
        """The rows, where those whose action, reward or cost is empty have no action.

        Raises ValueError for infinite cells, and for empty ones if they are refused.
        """
        final = rows.without_action
        last = len(rows) - int((~final)[::-1].argmax()) - 1  # the last row with an action
        if self.config.missing == REFUSE:
            self._refuse_actions(rows, final, last)
        self._check(rows.obs, rows, self.columns)
        if rows.next_obs is not None:
            next_of = dict(zip(self.config.obs_columns, self.config.next_obs_columns, strict=True))
            after = rows.next_obs[:, [name in next_of for name in self.columns]]
            filled = ~np.isnan(after).all(axis=1)
            self._check(after[filled], rows[filled], [next_of[name] for name in self.columns if name in next_of])
        kept = rows[~final] if final.any() else rows
        self._check(kept.action, kept, self.config.action_columns)
        for what in ("reward", "terminal", "timeout"):
            if (name := self.config.single.get(f"{what}_column")) is not None:
                self._check(vars(kept)[what][:, None], kept, [name])
        if kept.cost is not None:
            self._check(kept.cost, kept, self.config.cost_columns)
        return rows if self.config.missing == REFUSE else self._without_broken_steps(rows, last)

    def known(self, rows: Rows) -> Rows:
        """The rows from the first one at which every feature has or had a value, unless empty cells are masked."""
        if self.config.missing != LAST:
            return rows
        first = first_known(rows.obs)
        if first == len(rows):
            without = np.isnan(rows.obs).all(axis=0)
            self.never.update({name for name, none in zip(self.columns, without, strict=True) if none})
        else:
            self.before_first += first
        return replace(rows, obs=held(rows.obs))[first:]  # a value from before the first row stands in it

    def group(self, rows: Rows) -> str | None:
        """The group of an episode. Raises ValueError if it changes."""
        if rows.group is None:
            return None
        if (rows.group != rows.group[0]).any():
            t = int((rows.group != rows.group[0]).argmax())
            change = f"`{self.config.group_column}` changes from {rows.group[0]} to {rows.group[t]} inside an episode"
            fix = "start a new episode there, or name another `dataset.group_column`"
            raise ValueError(f"{self.place(rows.row[t])}: {change}; {fix}")
        return str(rows.group[0])

    def warnings(self) -> list[str]:
        """One line for each kind of empty cell."""
        lines = []
        if most := [(name, count) for name, count in self.empty.most_common() if count]:
            shares = [f"`{name}` {100 * count / self.rows:.3g} %" for name, count in most[:LISTED]]
            more = f" and {len(most) - LISTED} more columns" if len(most) > LISTED else ""
            lines.append(f"empty cells hold the last value above: {', '.join(shares)}{more}")
            if self.config.missing == LAST:
                lines[-1] += "; with `dataset.missing: mask`, errors count measured values alone"
        if self.without_step:
            lines.append(f"{counted(self.without_step, 'row')} without an action or reward: the episode is split there")
        if self.late:
            starts = counted(self.late, "episode starts", "episodes start")
            lines.append(f"{starts} with a row without an action: {LATE}")
        for name, count in self.never.most_common(LISTED):
            episodes = counted(count, "episode")
            lines.append(f"`{name}` has no value in {episodes}: left out; remove the column, or set `missing: mask`")
        if self.before_first:
            what = "at the start of an episode, before a column has its first value"
            lines.append(f"{counted(self.before_first, 'row')} {what}: left out")
        return lines

    def _refuse_actions(self, rows: Rows, final: np.ndarray, last: int) -> None:
        fix = "or set `dataset.missing` to last or mask, which split the episode there"
        if (partly := np.isnan(rows.action).any(axis=1) & ~final).any():
            place, columns = self.place(rows.row[partly][0]), ", ".join(self.config.action_columns)
            raise ValueError(f"{place}: part of the action ({columns}) is empty; fill it, {fix}")
        offset = max(1, self.config.action_offset, self.config.reward_offset)
        inner = final & (np.arange(len(rows)) < (last if last >= len(rows) - 1 - offset else len(rows) - offset))
        if inner.any():
            place = self.place(rows.row[inner][0])
            if inner[0] and inner.sum() == 1:
                raise ValueError(f"{place}: the first row of an episode has no action; {LATE}, else fill it")
            raise ValueError(f"{place}: no action; only the last row of an episode may have none: fill it, {fix}")

    def _check(self, array: np.ndarray, rows: Rows, names: list[str]) -> None:
        """Raises ValueError for the first cell of "N F" that is infinite, or empty if that is refused."""
        invalid = ~np.isfinite(array) if self.config.missing == REFUSE else np.isinf(array)
        if invalid.any():
            t, feature = (int(i) for i in np.argwhere(invalid)[0])
            fix = "repair or remove the row"
            value = f"{array[t, feature]}"
            if np.isnan(array[t, feature]):
                value, fix = "empty", f"{fix}, or set `dataset.missing` to last or mask"
            name = names[min(feature, len(names) - 1)]  # a column of lists has more features than names
            raise ValueError(f"{self.place(rows.row[t])}: column `{name}`: {value}; {fix}")

    def _without_broken_steps(self, rows: Rows, last: int) -> Rows:
        self.rows += len(rows)
        for name, count in dict(zip(self.columns, np.isnan(rows.obs).sum(axis=0).tolist(), strict=True)).items():
            self.empty[name] += count  # one of several features of a column stands for all
        broken = np.isnan(rows.action).any(axis=1) | np.isnan(rows.reward)
        if rows.cost is not None:
            broken |= np.isnan(rows.cost).any(axis=1)
        self.without_step += int(broken[: last + 1].sum())
        self.late += int(np.isnan(rows.action[0]).all())
        return replace(rows, action=np.where(broken[:, None], np.nan, rows.action))
