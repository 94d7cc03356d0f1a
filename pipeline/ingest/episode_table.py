"""One entry for each episode on disk while a log is ingested."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import NamedTuple, Self, TypeVar

import numpy as np

from pipeline.data.episode import Episode
from pipeline.ingest.rounding import Rounding

T = TypeVar("T")


class Piece(NamedTuple):
    """Steps ``first`` to ``stop`` of an episode, ``stop`` excluded, and the side of the split that they are on."""

    episode: int
    first: int
    stop: int
    held_out: bool


@dataclass
class EpisodeTable:
    """One entry for each episode on disk, and the extremes of all actions."""

    lengths: list[int] = field(default_factory=list)
    held_out: list[bool | None] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)  # equal for copies of one episode; set after the last episode
    terminated: list[bool] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)  # as in Episode, such as a patient
    spans: list[tuple[float, float] | None] = field(default_factory=list)  # as in Episode
    left_out: int = 0  # training episodes removed by `dataset.train_share`
    gap_steps: int = 0  # steps left out between the parts of a chronological split
    action_min: np.ndarray = field(default_factory=lambda: np.array(np.inf))
    action_max: np.ndarray = field(default_factory=lambda: np.array(-np.inf))
    rounding: Rounding = field(default_factory=Rounding)

    def note(
        self, episodes: Sequence[Episode], raw: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]
    ) -> None:
        """Add episodes, whose rows are in ``raw`` as logged and in ``stored`` as float32."""
        self.lengths += [len(episode.action) for episode in episodes]
        self.held_out += [episode.held_out for episode in episodes]
        self.terminated += [bool(episode.terminated) for episode in episodes]
        self.groups += [episode.group for episode in episodes]
        self.spans += [episode.span for episode in episodes]
        self.action_min = np.minimum(self.action_min, stored["action"].min(axis=0))
        self.action_max = np.maximum(self.action_max, stored["action"].max(axis=0))
        self.rounding.note(raw, stored)

    def only(self, kept: np.ndarray) -> Self:
        """The episodes in ``kept``, bool "E".

        The action extremes stay those of the whole log, so that inferred bounds, and with them the scaled held-out
        actions, are the same for every share.
        """

        def select(values: Iterable[T]) -> list[T]:
            return list(compress(values, kept))

        return replace(
            self,
            lengths=select(self.lengths),
            held_out=select(self.held_out),
            copies=select(self.copies),
            terminated=select(self.terminated),
            groups=select(self.groups),
            spans=select(self.spans),
            left_out=int((~kept).sum()),
        )

    def cut(self, pieces: Sequence[Piece]) -> Self:
        """A table whose episodes are ``pieces`` of those here."""
        lengths = [piece.stop - piece.first for piece in pieces]
        held_out: list[bool | None] = [piece.held_out for piece in pieces]
        if lengths == self.lengths:
            return replace(self, held_out=held_out)
        return replace(
            self,
            lengths=lengths,
            held_out=held_out,
            copies=[self.copies[piece.episode] for piece in pieces],
            terminated=[self.terminated[p.episode] and p.stop == self.lengths[p.episode] for p in pieces],
            groups=[self.groups[piece.episode] for piece in pieces],
            spans=[self._span(piece) for piece in pieces],
            gap_steps=sum(self.lengths) - sum(lengths),
        )

    def _span(self, piece: Piece) -> tuple[float, float] | None:
        span = self.spans[piece.episode]
        if span is None:
            return None
        step = (span[1] - span[0]) / self.lengths[piece.episode]
        return span[0] + step * piece.first, span[0] + step * piece.stop

    @property
    def offsets(self) -> np.ndarray:
        """First row of each episode and the row after the last one, int64 "E+1"."""
        return np.concatenate([[0], np.cumsum(np.array(self.lengths, np.int64) + 1)]).astype(np.int64)
