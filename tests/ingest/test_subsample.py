"""A share of the training episodes: nested, counted, and without a trace in the held-out split."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from data_examples import counting_columns, counting_episode, counting_log, npz_block

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.checks import run_checks
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.subsample import choose_episodes
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

LENGTHS = tuple(1 + e % 7 for e in range(40))


def shared(folder: Path, share: float, **facts: object) -> PreparedDataset:
    log = counting_log(LENGTHS, **{"action_high": [4.0], **facts})
    return write_dataset(folder / str(share), log, "counting", 0.25, 0, share)


def numbers(dataset: PreparedDataset, split: str) -> list[int]:
    """The episodes' numbers in the log, which the counting log keeps as its second feature."""
    return dataset.obs["state"][dataset.offsets[dataset.episodes(split)], 1].astype(int).tolist()


def test_shares_are_nested_and_counted_and_the_held_out_split_stays(tmp_path: Path) -> None:
    by_share = {share: shared(tmp_path, share) for share in (0.01, 0.1, 0.25, 0.5, 1.0)}
    train = {share: set(numbers(dataset, "train")) for share, dataset in by_share.items()}
    assert [len(chosen) for chosen in train.values()] == [1, 3, 8, 15, 30]
    assert train[0.01] < train[0.1] < train[0.25] < train[0.5] < train[1.0]
    whole = by_share[1.0]
    for dataset in by_share.values():
        assert numbers(dataset, "held_out") == numbers(whole, "held_out")
        for name, array in dataset.transitions("held_out").items():
            np.testing.assert_array_equal(array, whole.transitions("held_out")[name])


def test_what_stays_is_as_it_was_and_what_is_left_out_is_a_warning(tmp_path: Path) -> None:
    dataset = shared(tmp_path, 0.1)
    stay = numbers(dataset, "all")
    assert stay == sorted(stay)
    expected = [100 * e + t for e in stay for t in range(LENGTHS[e])]
    assert dataset.transitions("all")["obs"][:, 0].tolist() == expected
    assert dataset.spec.episodes == len(stay) == 13
    assert dataset.spec.transitions == len(expected)
    assert dataset.spec.terminals == sum(e % 2 == 0 for e in stay)
    assert "27 training episodes are left out because of `dataset.train_share`" in dataset.spec.warnings
    assert not any("left out" in warning for warning in shared(tmp_path, 1.0).spec.warnings)


def test_inferred_bounds_and_so_held_out_actions_are_the_same(tmp_path: Path) -> None:
    small, whole = (shared(tmp_path, share, action_low=None, action_high=None) for share in (0.01, 1.0))
    assert (small.spec.action_low, small.spec.action_high) == (whole.spec.action_low, whole.spec.action_high)


def test_the_whole_share_changes_no_byte(tmp_path: Path) -> None:
    plain = write_dataset(tmp_path / "plain", counting_log(LENGTHS, action_high=[4.0]), "counting", 0.25, 0)
    assert plain.spec.digest == shared(tmp_path, 1.0).spec.digest
    assert plain.spec.digest != shared(tmp_path, 0.5).spec.digest


def test_copies_go_together_and_count_once(tmp_path: Path) -> None:
    episodes = [counting_episode(e % 5, 3) for e in range(20)]
    dataset = write_dataset(tmp_path / "d", counting_log(episodes=episodes), "copies", 0.2, 0, 0.5)
    train = numbers(dataset, "train")
    assert len(train) == 8  # two of the four different ones
    assert sorted(train) == sorted(4 * list(set(train)))
    (copies,) = [f for f in run_checks(dataset) if f.name == "duplicate_episodes"]
    assert copies.evidence["copies"] == 9


def test_a_held_out_copy_of_a_training_episode_always_stays(tmp_path: Path) -> None:
    groups, held_out = [0, 1, 2, 3, 0, 1, 2, 3], np.arange(8) >= 4
    for seed in range(5):
        kept = choose_episodes(groups, held_out, 0.25, seed)
        assert kept[4:].all()
        assert kept[:4].sum() == 1


def test_another_held_out_file_stays_whole(tmp_path: Path) -> None:
    other = {**counting_columns((3, 3)), "reward": np.full(6, 7.0, np.float32)}
    np.savez(tmp_path / "other.npz", **other)  # type: ignore[arg-type]
    options = {"held_out_path": str(tmp_path / "other.npz"), "train_share": 0.4}
    block = npz_block(tmp_path / "log.npz", counting_columns(), **options)
    source, config = choose(SOURCES, block, "dataset", key="source")
    dataset = write_dataset(tmp_path / "d", source(config).read(), "log", 0.1, 0, config.train_share)
    assert len(dataset.episodes("train")) == 2
    assert dataset.episode_returns("held_out").tolist() == [21.0, 21.0]


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_shares_outside_the_range_are_refused(share: float, tmp_path: Path) -> None:
    block = npz_block(tmp_path / "log.npz", counting_columns(), train_share=share)
    with pytest.raises(ValueError, match=f"`dataset.train_share`: {share} must be (above 0|at most 1)"):
        choose(SOURCES, block, "dataset", key="source")


def test_given_flags_go_with_their_episodes(tmp_path: Path) -> None:
    episodes = [dataclasses.replace(counting_episode(e, 3), held_out=e in (1, 6)) for e in range(8)]
    dataset = write_dataset(tmp_path / "d", counting_log(episodes=episodes), "given", 0.9, 0, 0.5)
    assert numbers(dataset, "held_out") == [1, 6]
    assert len(dataset.episodes("train")) == 3
