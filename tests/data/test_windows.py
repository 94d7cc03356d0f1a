"""Windows over a counting dataset: no step crosses an episode, all steps are equally likely, padding is marked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data_examples import LENGTHS, counting_log

from pipeline.data.batches import WindowBatches
from pipeline.data.dataset import PreparedDataset
from pipeline.data.windows import Windows
from pipeline.ingest.writer import write_dataset
from pipeline.types import Shard


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    return write_dataset(tmp_path / "dataset", counting_log(), "counting", 0.2, 0)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rows_are_consecutive_and_padding_is_marked(dataset: PreparedDataset):
    windows = Windows(dataset, "all", 3)
    read = windows.read(windows.draw(500, draws()))
    clock, episode = read.obs["state"].unbind(-1)
    assert torch.equal(episode, episode[:, :1].expand_as(episode))
    real = read.valid.bool()
    assert real[:, 0].all()
    assert torch.equal((clock[:, 1:] - clock[:, :-1]), read.valid)  # one further, or standing still in padding
    assert torch.equal(read.reward[real], clock[:, :-1][real])  # reward[t] is that of the step out of obs[t]
    assert (read.reward[~real] == 0).all()
    torch.testing.assert_close(read.action[real][:, 0], clock[:, :-1][real] / 1000)


def test_terminals_stand_at_the_last_step_of_even_episodes(dataset: PreparedDataset):
    windows = Windows(dataset, "all", 3)
    read = windows.read(windows.draw(500, draws()))
    clock, episode = (x[:, 1:] for x in read.obs["state"].unbind(-1))
    lengths = torch.tensor(LENGTHS)[episode.long()]
    last = (clock == 100 * episode + lengths) & read.valid.bool()
    assert torch.equal(read.terminal.bool(), last & (episode % 2 == 0))


def test_every_step_is_equally_likely(dataset: PreparedDataset):
    windows = Windows(dataset, "all", 3)
    read = windows.read(windows.draw(60_000, draws()))
    seen = read.obs["state"][:, :-1, 0][read.valid.bool()]
    counts = np.unique(seen.numpy(), return_counts=True)[1]
    assert len(counts) == sum(LENGTHS)
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.05)


def test_a_window_may_be_longer_than_every_episode(dataset: PreparedDataset):
    windows = Windows(dataset, "all", 10)
    read = windows.read(windows.draw(100, draws()))
    assert read.valid.sum(1).max() == max(LENGTHS)


def test_ranks_share_one_global_batch(dataset: PreparedDataset):
    train, held_out = (Windows(dataset, split, 3) for split in ("train", "held_out"))
    batches = WindowBatches(train, held_out, 4, 100, seed=0)
    (whole,) = batches.train(0, 0, 1, Shard())
    parts = [next(iter(batches.train(0, 0, 1, Shard(rank, 2)))) for rank in (0, 1)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.obs["state"], whole.obs["state"][rank::2])
    assert not torch.equal(next(iter(batches.train(1, 0, 1, Shard()))).action, whole.action)
