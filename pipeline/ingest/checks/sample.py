"""The part of a dataset that the checks look at: bounded, and spread evenly over the order of the log."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset

ROWS = 200_000  # steps at most that are counted
FIT_ROWS = 18_000  # steps at most that a regression sees, two thirds of them to fit
LEAST_ROWS = 300  # fewer steps than this decide nothing

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Observations are those of vectors, flat, in sorted order of their keys; images are not looked at."""

    dataset: PreparedDataset

    @cached_property
    def names(self) -> list[str]:
        """Of the features, O."""
        spec = self.dataset.spec
        return [name for key in spec.vector_keys for name in spec.obs_names[key]]

    @cached_property
    def rows(self) -> IntArray:
        """At most ``ROWS`` steps in the order of the log."""
        return evenly(self.dataset.steps("all"), ROWS)

    @cached_property
    def obs(self) -> FloatArray:
        """Before each of ``rows``, "n O"."""
        return self.observed(self.rows)

    @cached_property
    def next_obs(self) -> FloatArray:
        """After each of ``rows``, "n O"."""
        return self.observed(self.rows + 1)

    @cached_property
    def reward(self) -> FloatArray:
        """Of ``rows``, "n"."""
        return np.asarray(self.dataset.reward[self.rows], np.float64)

    @cached_property
    def action(self) -> FloatArray:
        """Of ``rows``, "n A"."""
        return np.asarray(self.dataset.action[self.rows], np.float64)

    @cached_property
    def lengths(self) -> IntArray:
        """Real steps of every episode, "E"."""
        return self.dataset.episode_lengths("all")

    @cached_property
    def ended(self) -> NDArray[np.bool_]:
        """Whether every episode ends in a terminal, "E"."""
        return np.asarray(self.dataset.terminal[self.dataset.offsets[1:] - 2])

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """Which features ever change within an episode, "O"."""
        return (self.obs != self.next_obs).any(axis=0)

    def observed(self, rows: IntArray) -> FloatArray:
        return self.dataset.flat_obs(rows).astype(np.float64)

    def actions(self, rows: IntArray) -> FloatArray:
        return np.asarray(self.dataset.action[rows], np.float64)

    def rewards(self, rows: IntArray) -> FloatArray:
        return np.asarray(self.dataset.reward[rows], np.float64)

    def windows(self, length: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """First rows "n" of windows of ``length`` steps inside an episode, and which of them are for testing: those of
        every third episode, so that no tested step has a neighbor among the fitted ones."""
        starts = evenly(self.dataset.windows("all", length), FIT_ROWS)
        return starts, self.episode_of(starts) % 3 == 2

    def episode_of(self, rows: IntArray) -> IntArray:
        return np.searchsorted(self.dataset.offsets, rows, side="right") - 1


def evenly(rows: IntArray, most: int) -> IntArray:
    """At most ``most`` of ``rows``, evenly spaced, the first and the last among them."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def decides(test: NDArray[np.bool_]) -> bool:
    """Whether a split of windows holds enough steps on both sides for a regression to mean something."""
    return bool(min(test.sum(), (~test).sum()) >= LEAST_ROWS)
