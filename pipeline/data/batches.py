"""What a world model is fitted on: bootstrap samples of single transitions, or windows of consecutive steps.

All ranks draw the same global batch from generators seeded by epoch and chunk; each keeps its share of the rows.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pipeline.data.windows import Windows
from pipeline.seeding import generator
from pipeline.types import Segments, Shard, Transitions

HELD_OUT_ROWS = 2048  # transitions judged at once


class Bootstrap:
    """For models of single transitions: every learner draws batches from its own bootstrap sample of them, "L B ...";
    one alone has none to differ from, and draws from all."""

    def __init__(self, train: Transitions, held_out: Transitions, learners: int, batch_size: int, seed: int) -> None:
        self.data, self.held_out_data = train, held_out
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = math.ceil(len(train) / batch_size)
        draws = generator(seed, "world_model", "bootstrap")
        resampled = torch.randint(len(train), (learners, len(train)), generator=draws)
        self.bootstrap = resampled if learners > 1 else torch.arange(len(train))[None]

    def to(self, device: torch.device) -> None:
        """Move everything to the device once; batches are then gathered there."""
        self.data, self.held_out_data = self.data.to(device), self.held_out_data.to(device)
        self.bootstrap = self.bootstrap.to(device)

    def train(self, epoch: int, chunk: int, steps: int, shard: Shard) -> Iterator[Transitions]:
        device = self.bootstrap.device
        draws = generator(self.seed, "world_model", "batch", epoch, chunk, device=device)
        shape = (len(self.bootstrap), steps * self.batch_size)
        picks = torch.randint(len(self.data), shape, generator=draws, device=device)
        rows = self.bootstrap.gather(1, picks).unflatten(1, (steps, self.batch_size))
        for one in rows.unbind(1):
            yield self.data[shard.of(one.T).T]

    def held_out(self, shard: Shard) -> Iterator[Transitions]:
        rows = self.held_out_data.map(shard.of)
        yield from (rows[i : i + HELD_OUT_ROWS] for i in range(0, len(rows), HELD_OUT_ROWS))

    def some_train(self) -> list[Transitions]:
        """All training transitions."""
        return [self.data]


class WindowBatches:
    """For a recurrent model: windows drawn uniformly over the training steps, and one fixed set of held-out windows."""

    def __init__(self, train: Windows, held_out: Windows, batch_size: int, held_out_rows: int, seed: int) -> None:
        self.windows, self.held_out_windows = train, held_out
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = math.ceil(train.steps / (batch_size * train.length))
        self.device = torch.device("cpu")
        count = min(math.ceil(held_out_rows / held_out.length), math.ceil(held_out.steps / held_out.length))
        self.held_out_picks = held_out.draw(count, generator(seed, "world_model", "held_out"))
        self.train_picks = train.draw(count, generator(seed, "world_model", "some_train"))

    def to(self, device: torch.device) -> None:
        """Windows are read when they are needed and only then moved: frames may not fit on a device."""
        self.device = device

    def train(self, epoch: int, chunk: int, steps: int, shard: Shard) -> Iterator[Segments]:
        draws = generator(self.seed, "world_model", "batch", epoch, chunk)
        for picks in self.windows.draw(steps * self.batch_size, draws).split(self.batch_size):
            yield self.windows.read(shard.of(picks)).to(self.device)

    def held_out(self, shard: Shard) -> Iterator[Segments]:
        yield from self._read(self.held_out_windows, shard.of(self.held_out_picks))

    def some_train(self) -> list[Segments]:
        """As many training windows as there are held-out ones."""
        return list(self._read(self.windows, self.train_picks))

    def _read(self, windows: Windows, picks: Tensor) -> Iterator[Any]:
        yield from (windows.read(some).to(self.device) for some in picks.split(self.batch_size))
