"""Where a learner's batches come from: logged transitions, mixed with what was imagined lately."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, Self

import torch
from torch import Generator, Tensor

from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies.protocols import PolicyLearner
from pipeline.types import Metrics, Transitions

CPU_ROWS = 512  # rows imagined at once on a CPU: the members' activations then stay in its cache


class Rows(Protocol):
    """Transitions by their rows, in memory or not."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Transitions: ...

    def to(self, device: torch.device) -> Self: ...


class LoggedReplay:
    """Batches of logged transitions alone."""

    def __init__(self, logged: Rows) -> None:
        self.logged = logged

    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        return {}

    def batches(self, count: int, batch_size: int, generator: Generator) -> Iterable[Transitions]:
        """``count`` batches, gathered in one go because one large gather is cheaper than many small ones."""
        rows = _draw(self.logged, count * batch_size, generator)
        return [rows[i * batch_size : (i + 1) * batch_size] for i in range(count)]

    def to(self, device: torch.device) -> None:
        self.logged = self.logged.to(device)

    def state(self) -> list[dict[str, Tensor]]:
        return []

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        pass


class ReadReplay(LoggedReplay):
    """For rows that are read when they are asked for: one batch is in memory at a time."""

    def batches(self, count: int, batch_size: int, generator: Generator) -> Iterator[Transitions]:
        return (_draw(self.logged, batch_size, generator) for _ in range(count))


class Recent:
    """The last ``parts`` parts of transitions, oldest first, read as one long batch that is never copied together.

    Each part, of at most ``rows`` rows, has a slot of one storage; a new part takes the slot of the oldest.
    """

    def __init__(self, like: Transitions, parts: int, rows: int) -> None:
        self.storage = like.map(lambda x: x.new_empty(parts * rows, *x.shape[1:]))
        self.counts: deque[int] = deque(maxlen=parts)  # rows of each part, oldest first
        self.rows, self.added = rows, 0

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, index: Tensor) -> Transitions:
        """Rows "B" of the long batch."""
        counts, starts = (torch.tensor(x, dtype=torch.long, device=index.device) for x in (self.counts, self._starts()))
        ends = counts.cumsum(0)
        return self.storage[index + (starts - ends + counts)[torch.searchsorted(ends, index, right=True)]]

    def add(self, pieces: list[Transitions]) -> Transitions:
        """Keep ``pieces`` together as the newest part; returns a view of it."""
        self.counts.append(sum(len(piece) for piece in pieces))
        assert self.counts[-1] <= self.rows
        self.added += 1
        part = self.parts()[-1]
        for name, place in vars(part).items():
            torch.cat([getattr(piece, name) for piece in pieces], out=place)
        return part

    def parts(self) -> list[Transitions]:
        """Views, oldest first."""
        return [self.storage[a : a + n] for a, n in zip(self._starts(), self.counts, strict=True)]

    def to(self, device: torch.device) -> Self:
        self.storage = self.storage.to(device)
        return self

    def _starts(self) -> list[int]:
        """Where each part starts in the storage, oldest first."""
        kept, slots = len(self.counts), self.counts.maxlen or 1
        return [self.rows * (i % slots) for i in range(self.added - kept, self.added)]


class MixedReplay(LoggedReplay):
    """A share of logged transitions in every batch; the rest from the last ``retain`` refreshes of imagination, with
    rollouts branching off logged states (MBPO, Janner et al. 2019, arXiv:1906.08253)."""

    def __init__(self, logged: Transitions, imagination: Imagination, config: RolloutSpec) -> None:
        super().__init__(logged)
        self.imagination, self.config = imagination, config
        self.imagined = Recent(logged, config.retain, config.starts * config.length)

    @torch.no_grad()
    def refresh(self, learner: PolicyLearner, generator: Generator) -> Metrics:
        """Imagine with the policy as it is now; what was imagined too long ago is forgotten."""
        starts = _draw(self.logged, self.config.starts, generator).state
        rows = CPU_ROWS if starts.device.type == "cpu" else len(starts)
        actor = lambda state, t, draws: learner.act(state, draws)  # noqa: E731
        pieces, alive = [], 0.0
        for start in starts.split(rows):
            rollout = self.imagination.rollout(
                actor, start, self.config.length, generator, self.config.fixed_member, self.config.halt_above
            )
            pieces.append(rollout.transitions())
            alive += float(rollout.alive[:, -1].sum())
        fresh = self.imagined.add(pieces)
        return {
            "imagined_reward": float(fresh.reward.mean()),
            "imagined_penalty": float(fresh.penalty.mean()),
            "imagined_terminal_rate": float(fresh.terminal.mean()),
            "imagined_survival": alive / len(starts),
            "imagined_transitions": float(len(fresh)),
        }

    def batches(self, count: int, batch_size: int, generator: Generator) -> list[Transitions]:
        real = round(self.config.real_ratio * batch_size)
        logged = _draw(self.logged, count * real, generator)
        imagined = _draw(self.imagined, count * (batch_size - real), generator)
        pairs = zip(_split(logged, count), _split(imagined, count), strict=True)
        return [Transitions.cat([a, b]) for a, b in pairs]

    def to(self, device: torch.device) -> None:
        super().to(device)
        self.imagined.to(device)

    def state(self) -> list[dict[str, Tensor]]:
        # Copies: torch.save would write all of the storage behind a view.
        return [vars(part.map(torch.clone)) for part in self.imagined.parts()]

    def load_state(self, state: list[dict[str, Tensor]]) -> None:
        for fields in state:
            self.imagined.add([Transitions(**fields)])


def _draw(source: Rows, count: int, generator: Generator) -> Transitions:
    return source[torch.randint(max(len(source), 1), (count,), generator=generator, device=generator.device)]


def _split(rows: Transitions, count: int) -> list[Transitions]:
    size = len(rows) // count
    return [rows[i * size : (i + 1) * size] for i in range(count)]
