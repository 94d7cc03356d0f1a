"""Even grids of time, and resampling of episodes."""

from dataclasses import dataclass

import numpy as np

JITTER = 0.05  # share of a step by which evenly spaced rows may deviate
MOST_STEPS = 10**8  # of an episode on a grid
SLACK = 1e-6  # share of a step by which a row may miss a point of the grid
REWARD_RESAMPLE = ("mean", "sum", "last")


def even_step(time: np.ndarray) -> float:
    """Median distance between at least two times "N"."""
    return float(np.median(np.diff(time)))


def first_gap(time: np.ndarray, step: float) -> int | None:
    """The first of the times "N" whose distance to the next differs from ``step`` by more than :data:`JITTER`."""
    uneven = np.flatnonzero(np.abs(np.diff(time) - step) > JITTER * step)
    return int(uneven[0]) if uneven.size else None


@dataclass(frozen=True)
class Grid:
    """An even grid over the rows "T+1" of an episode, from the first one up to the first point at or after the last.

    A row lasts until the next one. Rows that miss a point by ``SLACK`` of a step count as on it, so that rounding
    moves none.
    """

    clock: np.ndarray  # time of each row in steps from the first one, "T+1"
    steps: int
    row: np.ndarray  # the last row at or before each point, "steps+1": no interpolation, and nothing of the future

    @property
    def counts(self) -> np.ndarray:
        """Rows in each step, int "steps"."""
        return np.bincount(np.floor(self.clock[:-1] + SLACK).astype(int), minlength=self.steps)

    def measured(self, measured: np.ndarray) -> np.ndarray:
        """Whether a value was measured after the point before and up to each point, from bool "T+1 W"."""
        so_far = np.cumsum(measured, axis=0)[self.row]
        return np.diff(so_far, axis=0, prepend=0) > 0

    def rewards(self, reward: np.ndarray, how: str) -> np.ndarray:
        """Rewards of the steps from those of the rows, "T" or "T C"; see ``dataset.reward_resample``."""
        if how == "last":
            before = np.searchsorted(self.clock[:-1], np.arange(1, self.steps + 1) - SLACK) - 1
            return reward[before]
        lasting = np.diff(self.clock)
        weight = lasting if how == "mean" else np.ones_like(lasting)
        edges = np.minimum(np.arange(self.steps + 1), self.clock[-1])
        columns = [np.r_[0.0, np.cumsum(column * weight)] for column in np.atleast_2d(reward.T)]
        sums = np.stack([np.diff(np.interp(edges, self.clock, column)) for column in columns], axis=-1)
        steps = sums / np.diff(edges)[:, None] if how == "mean" else sums
        return steps[:, 0] if reward.ndim == 1 else steps


def grid_of(time: np.ndarray, step: float) -> Grid:
    """The grid of a given step over the times "T+1" of an episode of at least one step. Raises ValueError for a step so
    short that the grid would not fit into memory."""
    clock = (time - time[0]) / step
    steps = max(1, int(np.ceil(clock[-1] - SLACK)))
    if steps > MOST_STEPS:
        raise ValueError(f"`dataset.resample: {step:g}` makes {steps:,} steps of one episode; set a longer step")
    return Grid(clock, steps, np.searchsorted(clock, np.arange(steps + 1) + SLACK, side="right") - 1)
