"""Training batches of world models: bootstrap samples of single transitions, or windows of consecutive steps.

All ranks draw the same global batch from generators seeded by epoch and chunk; each rank keeps its share of the rows.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.data.rows import Rows, in_memory
from pipeline.data.windows import Windows
from pipeline.seeding import generator, seed_of
from pipeline.types import Segments, Shard, Transitions

HELD_OUT_ROWS = 2048  # transitions in one held-out batch


class Resamples:
    """L bootstrap samples of ``rows`` rows, held in memory. A single one is all rows without resampling."""

    def __init__(self, count: int, rows: int, seed: int) -> None:
        resampled = torch.randint(rows, (count, rows), generator=generator(seed, "world_model", "bootstrap"))
        self.rows = resampled if count > 1 else torch.arange(rows)[None]

    def to(self, device: torch.device) -> None:
        """Move the samples to ``device``."""
        self.rows = self.rows.to(device)

    def __getitem__(self, picks: Tensor) -> Tensor:
        """The rows "L N" at the places ``picks`` "L N" of each sample."""
        return self.rows.gather(1, picks)


class ComputedResamples:
    """The same for so many rows that the samples do not fit in memory: each entry is a hash of its place (SplitMix64,
    Steele et al. 2014), so the numbers differ from those of :class:`Resamples`."""

    def __init__(self, count: int, rows: int, seed: int) -> None:
        self.count, self.rows = count, rows
        self.key = np.uint64(seed_of(seed, "world_model", "bootstrap"))

    def to(self, device: torch.device) -> None:
        """Nothing is stored."""

    def __getitem__(self, picks: Tensor) -> Tensor:
        """The rows "L N" at the places ``picks`` "L N" of each sample."""
        if self.count == 1:
            return picks
        place = picks.cpu().numpy().astype(np.uint64) * np.uint64(self.count)
        place += np.arange(self.count, dtype=np.uint64)[:, None] + np.uint64(1)
        mixed = self.key + place * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return torch.from_numpy((mixed % np.uint64(self.rows)).astype(np.int64)).to(picks.device)


class Bootstrap:
    """Batches "L B ..." for models of single transitions; each of L bootstraps has its own sample of them (Efron 1979).

    With L = 1 nothing is resampled: batches come from all training transitions.
    """

    def __init__(self, train: Rows, held_out: Transitions, num_bootstraps: int, batch_size: int, seed: int) -> None:
        self.data = train
        self.held_out_data = held_out
        self.num_bootstraps = num_bootstraps
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = math.ceil(len(train) / batch_size)
        samples = Resamples if isinstance(train, Transitions) else ComputedResamples
        self.bootstrap = samples(num_bootstraps, len(train), seed)
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Return batches on ``device`` from now on; transitions in memory are moved there."""
        self.device = device
        self.data = self.data.to(device)
        self.held_out_data = self.held_out_data.to(device)
        self.bootstrap.to(device)

    def train(self, epoch: int, chunk: int, steps: int, shard: Shard) -> Iterator[Transitions]:
        """The rank's share of ``steps`` random batches "L B ...", drawn from each member's bootstrap sample."""
        draws = generator(self.seed, "world_model", "batch", epoch, chunk, device=self.device)
        shape = (self.num_bootstraps, steps * self.batch_size)
        picks = torch.randint(len(self.data), shape, generator=draws, device=self.device)
        rows = self.bootstrap[picks].unflatten(1, (steps, self.batch_size))
        for batch_rows in rows.unbind(1):
            yield self.data[shard.of(batch_rows.T).T]

    def held_out(self, shard: Shard) -> Iterator[Transitions]:
        """The rank's share of the held-out transitions, in batches "B ..."."""
        yield from self.held_out_data.map(shard.of).split(HELD_OUT_ROWS)

    def some_train(self) -> list[Transitions]:
        """All training transitions as one batch; a sample of them if they are not in memory."""
        return [in_memory(self.data)]


class WindowBatches:
    """Batches of windows for recurrent models: random training windows and one fixed set of held-out windows."""

    def __init__(self, train: Windows, held_out: Windows, batch_size: int, held_out_rows: int, seed: int) -> None:
        self.windows = train
        self.held_out_windows = held_out
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = math.ceil(train.steps / (batch_size * train.length))
        self.device = torch.device("cpu")
        count = min(math.ceil(held_out_rows / held_out.length), math.ceil(held_out.steps / held_out.length))
        self.held_out_picks = held_out.draw(count, generator(seed, "world_model", "held_out"))
        self.train_picks = train.draw(count, generator(seed, "world_model", "some_train"))

    def to(self, device: torch.device) -> None:
        """Move windows to ``device`` as they are read, because images may not fit there all at once."""
        self.device = device

    def train(self, epoch: int, chunk: int, steps: int, shard: Shard) -> Iterator[Segments]:
        """The rank's share of ``steps`` batches of random windows."""
        draws = generator(self.seed, "world_model", "batch", epoch, chunk)
        for picks in self.windows.draw(steps * self.batch_size, draws).split(self.batch_size):
            yield self.windows.read(shard.of(picks)).to(self.device)

    def held_out(self, shard: Shard) -> Iterator[Segments]:
        """The rank's share of the held-out windows."""
        yield from self._read(self.held_out_windows, shard.of(self.held_out_picks))

    def some_train(self) -> list[Segments]:
        """A fixed set of training windows, as many as there are held-out windows."""
        return list(self._read(self.windows, self.train_picks))

    def _read(self, windows: Windows, picks: Tensor) -> Iterator[Segments]:
        yield from (windows.read(batch).to(self.device) for batch in picks.split(self.batch_size))
