"""The rows of a dataset that the checks use: limited in number, and evenly spaced over the log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import PreparedDataset, Starts
from pipeline.ingest.copies import copies_of, digest_in, marks_of

ROWS = 200_000  # at most this many steps are counted
FIT_ROWS = 18_000  # at most this many steps enter a regression, two thirds of them to fit it
LEAST_ROWS = 300  # with fewer steps, results are not significant
FEW_EPISODES, BLOCKS = 30, 30  # with fewer episodes, blocks of rows take their place in a train-test split

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Rows of a dataset as float64. Observations are the vector keys in sorted order, concatenated, without images."""

    dataset: PreparedDataset
    results: dict[str, FloatArray] = field(default_factory=dict)  # what several checks compute, by a name

    @cached_property
    def names(self) -> list[str]:
        """Names of the O features."""
        spec = self.dataset.spec
        return [name for key in spec.vector_keys for name in spec.obs_names[key]]

    @cached_property
    def rows(self) -> IntArray:
        """At most ``ROWS`` steps in the order of the log."""
        return evenly(self.dataset.starts("all", 1), ROWS)

    @cached_property
    def obs(self) -> FloatArray:
        """Observations before the steps of ``rows``, "n O"."""
        return self.observed(self.rows)

    @cached_property
    def next_obs(self) -> FloatArray:
        """Observations after the steps of ``rows``, "n O"."""
        return self.observed(self.rows + 1)

    @cached_property
    def reward(self) -> FloatArray:
        """Rewards of ``rows``, "n"."""
        return np.asarray(self.dataset.reward[self.rows], np.float64)

    @cached_property
    def action(self) -> FloatArray:
        """Actions of ``rows``, "n A"."""
        return np.asarray(self.dataset.action[self.rows], np.float64)

    @cached_property
    def lengths(self) -> IntArray:
        """Steps of every episode, "E"."""
        return self.dataset.episode_lengths("all")

    @cached_property
    def ended(self) -> NDArray[np.bool_]:
        """Whether each episode ends in a terminal, "E"."""
        return np.asarray(self.dataset.terminal[self.dataset.offsets[1:] - 2])

    @cached_property
    def copies(self) -> IntArray:
        """A number for every episode "E", the same for exact copies; of images, three frames are compared."""
        dataset, spec = self.dataset, self.dataset.spec
        vectors = [dataset.action, dataset.reward, dataset.terminal, *(dataset.obs[key] for key in spec.vector_keys)]
        images = [dataset.obs[key] for key in spec.image_keys]
        return copies_of(marks_of([*vectors, *images], dataset.offsets), digest_in(vectors, dataset.offsets))

    @cached_property
    def moving(self) -> NDArray[np.bool_]:
        """Which features ever change within an episode, "O"."""
        return (self.obs != self.next_obs).any(axis=0)

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """Which features a world model predicts, "O": those that move and are not exogenous."""
        return self.moving & ~self.exogenous

    @cached_property
    def exogenous(self) -> NDArray[np.bool_]:
        """Which features no action changes, "O"."""
        spec = self.dataset.spec
        flags = [i in spec.exogenous.get(key, ()) for key in spec.vector_keys for i in range(len(spec.obs_names[key]))]
        return np.array(flags, bool)

    def once(self, name: str, compute: Callable[[], FloatArray]) -> FloatArray:
        """What ``compute`` returns, computed by the first check that asks for ``name``."""
        if name not in self.results:
            self.results[name] = compute()
        return self.results[name]

    def observed(self, rows: IntArray) -> FloatArray:
        """Observations of ``rows``, "n O"."""
        return self.dataset.flat_obs(rows).astype(np.float64)

    def actions(self, rows: IntArray) -> FloatArray:
        """Actions of ``rows``, "n A"."""
        return np.asarray(self.dataset.action[rows], np.float64)

    def rewards(self, rows: IntArray) -> FloatArray:
        """Rewards of ``rows``, "n"."""
        return np.asarray(self.dataset.reward[rows], np.float64)

    def in_time(self, rows: IntArray) -> IntArray:
        """``rows`` sorted by time; in the order of the log where it has no times."""
        spans = self.dataset.spans
        if spans is None:
            return rows
        episode = self.episode_of(rows)
        share = (rows - self.dataset.offsets[episode]) / self.lengths[episode]
        time = spans[episode, 0] + share * (spans[episode, 1] - spans[episode, 0])
        return rows[np.argsort(time, kind="stable")]

    def windows(self, length: int) -> tuple[IntArray, NDArray[np.bool_]]:
        """First rows "n" of windows of ``length`` steps inside an episode, and whether each is a test row, bool "n".

        Every third episode is for testing, so that no test step is next to a training step. Of few episodes, every
        third block of rows is.
        """
        starts = evenly(self.dataset.starts("all", length), FIT_ROWS)
        if len(self.lengths) >= FEW_EPISODES:
            return starts, self.episode_of(starts) % 3 == 2
        return starts, np.arange(len(starts)) * BLOCKS // max(len(starts), 1) % 3 == 2

    def episode_of(self, rows: IntArray) -> IntArray:
        """Index of the episode that each of ``rows`` belongs to, "n"."""
        return np.searchsorted(self.dataset.offsets, rows, side="right") - 1


def evenly(rows: IntArray | Starts, most: int) -> IntArray:
    """At most ``most`` of ``rows``, evenly spaced, with the first and the last."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]


def is_large_enough(test: NDArray[np.bool_]) -> bool:
    """Whether both sides of a train-test split, bool "n", have enough steps for a regression."""
    return bool(min(test.sum(), (~test).sum()) >= LEAST_ROWS)
