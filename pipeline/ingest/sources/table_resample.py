"""Rows of a table on an even grid in time."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.ingest.sources.clock import Clock
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.table_rows import Rows
from pipeline.ingest.sources.table_time import grid_of
from pipeline.validation import counted

REWARDS = {
    "mean": "the mean of the rewards, weighted by the time that each row lasts",
    "sum": "the sum of the rewards, each in proportion to the time of its row in the step",
    "last": "the reward of the last row in it",
}


@dataclass
class Resampler:
    """Puts episodes on an even grid and counts for the warning."""

    config: TableConfig
    clock: Clock
    steps: int = 0
    empty: int = 0
    joined: int = 0

    def on_grid(self, rows: Rows, time: np.ndarray, step: float) -> Rows:
        """Rows "K+1" at the points of the grid, from rows "T+1"; the action and reward of the last one mean nothing."""
        grid = grid_of(time, step)
        self.steps += grid.steps
        self.empty += int((grid.counts == 0).sum())
        self.joined += int((grid.counts > 1).sum())
        how, at = self.config.reward_resample, rows[grid.row]
        cost = None if rows.cost is None else np.append(grid.rewards(rows.cost[:-1], how), rows.cost[-1:], axis=0)
        return replace(
            at,
            reward=np.append(grid.rewards(rows.reward[:-1], how), rows.reward[-1]),
            cost=cost,
            measured=None if rows.measured is None else grid.measured(rows.measured),
        )

    def warnings(self) -> list[str]:
        """A line on the grid, and one on steps whose sums of rewards are not of equally many rows."""
        if self.config.resample is None:
            return []
        how = self.config.reward_resample
        taken = f"each has the last observation and action at or before it, and {REWARDS[how]}"
        counts = {"without a row, with the last values": self.empty, "with several rows": self.joined}
        parts = "".join(f"; {counted(number, 'step')} {what}" for what, number in counts.items() if number)
        grid = f"{counted(self.steps, 'step')} of {self.config.resample:g}{self.clock.unit}"
        lines = [f"resampled to {grid}: {taken}{parts}"]
        if how == "sum" and 0 < self.joined < self.steps / 2:
            rows = (
                f"the rewards of {counted(self.joined, 'step')} are sums of several rows, those of the others are not"
            )
            lines.append(f"{rows}: set `dataset.reward_resample: mean` if the reward is a rate")
        return lines
