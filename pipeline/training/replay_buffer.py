"""Replay buffers: batches of logged transitions, or of logged and recently imagined ones."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Generator, Tensor

from pipeline.data.episode_draws import EpisodeDraws
from pipeline.data.rows import Rows, first_rows
from pipeline.imagination import Imagination, RolloutSpec, rows_at_once
from pipeline.policies.protocols import PolicyLearner
from pipeline.types import Metrics, Transitions


class LoggedReplay:
    """Batches of logged transitions only; ``draws`` says which come more often."""

    def __init__(self, logged: Rows, draws: EpisodeDraws | None = None) -> None:
        self.logged = logged
        self.draws = draws

    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        """Renew imagined transitions at the start of an epoch and return metrics of them. Here there are none."""
        return {}

    def batches(self, count: int, batch_size: int, generator: Generator) -> Iterable[Transitions]:
        """``count`` batches, drawn with replacement; one large gather is cheaper than many small ones."""
        rows = self._draw_logged(count * batch_size, generator)
        return [rows[i * batch_size : (i + 1) * batch_size] for i in range(count)]

    def to(self, device: torch.device) -> None:
        """Move all transitions to ``device``."""
        self.logged = self.logged.to(device)
        self.draws = None if self.draws is None else self.draws.to(device)

    def _draw_logged(self, count: int, generator: Generator) -> Transitions:
        if self.draws is None:
            return _draw(self.logged, count, generator)
        return self.logged[self.draws.rows(count, generator)]

    def state(self) -> list[dict[str, Tensor]]:
        """Imagined transitions for a resume point, one dict for each refresh, oldest first."""
        return []

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        """Restore a state of :meth:`state`."""


class ReadReplay(LoggedReplay):
    """Logged transitions that are read from disk; one batch is in memory at a time."""

    def batches(self, count: int, batch_size: int, generator: Generator) -> Iterator[Transitions]:
        """``count`` batches, drawn with replacement and read one by one."""
        return (self._draw_logged(batch_size, generator) for _ in range(count))


class Recent:
    """A ring buffer of the last ``parts`` parts of transitions, indexed as one batch, oldest part first.

    Each part has a slot of ``rows`` rows in one storage; a new part overwrites the oldest. ``like`` gives the shapes,
    dtypes and the device.
    """

    def __init__(self, like: Transitions, parts: int, rows: int) -> None:
        self.storage = like.map(lambda x: x.new_empty(parts * rows, *x.shape[1:]))
        self.counts: deque[int] = deque(maxlen=parts)  # rows of each part, oldest first
        self.rows = rows
        self.added = 0  # parts added so far

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, index: Tensor) -> Transitions:
        """Transitions of the rows ``index`` "B"."""
        counts, starts = (torch.tensor(x, dtype=torch.long, device=index.device) for x in (self.counts, self._starts()))
        ends = counts.cumsum(0)
        return self.storage[index + (starts - ends + counts)[torch.searchsorted(ends, index, right=True)]]

    def add(self, pieces: list[Transitions]) -> Transitions:
        """Store ``pieces`` as the newest part; returns a view of it."""
        self.counts.append(sum(len(piece) for piece in pieces))
        assert self.counts[-1] <= self.rows
        self.added += 1
        part = self.parts()[-1]
        for name, slot in vars(part).items():
            torch.cat([getattr(piece, name) for piece in pieces], out=slot)
        return part

    def parts(self) -> list[Transitions]:
        """Views of the parts, oldest first."""
        return [self.storage[a : a + n] for a, n in zip(self._starts(), self.counts, strict=True)]

    def to(self, device: torch.device) -> Self:
        """Move the storage to ``device``; returns this buffer."""
        self.storage = self.storage.to(device)
        return self

    def _starts(self) -> list[int]:
        """First row of each part in the storage, oldest first."""
        slots = self.counts.maxlen or 1
        return [self.rows * (i % slots) for i in range(self.added - len(self.counts), self.added)]


class MixedReplay(LoggedReplay):
    """Batches with a share ``real_ratio`` of logged transitions. The rest comes from the last ``retain`` refreshes of
    imagination, whose rollouts branch from logged states (MBPO, Janner et al. 2019, arXiv:1906.08253).

    Imagined transitions are drawn in segments of ``segment`` consecutive ones, which may span several rollouts, so each
    transition is drawn equally often. The steps of a rollout are stored one after the other.
    """

    def __init__(
        self,
        logged: Rows,
        imagination: Imagination,
        config: RolloutSpec,
        segment: int = 1,
        draws: EpisodeDraws | None = None,
    ) -> None:
        super().__init__(logged, draws)
        self.segment = segment
        self.imagination = imagination
        self.config = config
        self.imagined = Recent(first_rows(logged, 1), config.retain, config.starts * config.length)

    @torch.no_grad()
    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        """Add rollouts of the current policy; the oldest refresh is dropped.

        Metrics are means over the new transitions; ``imagined_survival`` is the share of rollouts that reach their
        last step.
        """
        logged = self._draw_logged(self.config.starts, generator)
        actor = lambda state, t, draws: learner.act(state, draws)  # noqa: E731
        pieces, alive = [], 0.0
        for part in logged.split(rows_at_once(logged.state)):
            rollout = self.imagination.rollout(
                actor,
                part.state,
                self.config.length,
                generator,
                self.config.fixed_member,
                self.config.halt_above,
                future=self.imagination.future(part.row, self.config.length),
            )
            pieces.append(rollout.transitions())
            alive += float(rollout.alive[:, -1].sum())
        fresh = self.imagined.add(pieces)
        return {
            "imagined_reward": float(fresh.reward.mean()),
            "imagined_penalty": float(fresh.penalty.mean()),
            "imagined_terminal_rate": float(fresh.terminal.mean()),
            "imagined_survival": alive / len(logged),
            "imagined_transitions": float(len(fresh)),
        }

    def batches(self, count: int, batch_size: int, generator: Generator) -> list[Transitions]:
        """``count`` batches, drawn with replacement; logged transitions come first in each, one by one."""
        real = round(self.config.real_ratio * batch_size)
        logged = self._draw_logged(count * real, generator)
        imagined = self._draw_imagined(count, batch_size - real, generator)
        pairs = zip(_split(logged, count), _split(imagined, count), strict=True)
        return [Transitions.cat([a, b]) for a, b in pairs]

    def _draw_imagined(self, count: int, rows: int, generator: Generator) -> Transitions:
        """``count`` times ``rows`` imagined transitions, in segments of ``segment`` consecutive ones."""
        if self.segment == 1:
            return _draw(self.imagined, count * rows, generator)
        size = max(len(self.imagined), 1)
        starts = torch.randint(size, (count, -(-rows // self.segment), 1), generator=generator, device=generator.device)
        index = (starts + torch.arange(self.segment, device=generator.device)) % size
        return self.imagined[index.flatten(1)[:, :rows].flatten()]

    def to(self, device: torch.device) -> None:
        """Move logged and imagined transitions to ``device``."""
        super().to(device)
        self.imagined.to(device)

    def state(self) -> list[dict[str, Tensor]]:
        """Copies of the imagined transitions, one dict for each refresh, oldest first."""
        # torch.save would write the whole storage behind a view.
        return [vars(part.map(torch.clone)) for part in self.imagined.parts()]

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        """Restore a state of :meth:`state`."""
        for fields in state:
            self.imagined.add([Transitions(**fields)])


def _draw(source: Rows, count: int, generator: Generator) -> Transitions:
    return source[torch.randint(max(len(source), 1), (count,), generator=generator, device=generator.device)]


def _split(rows: Transitions, count: int) -> list[Transitions]:
    size = len(rows) // count
    return [rows[i * size : (i + 1) * size] for i in range(count)]
