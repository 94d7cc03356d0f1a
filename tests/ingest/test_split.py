"""What is held out: by chance, the last part of the log, or whole groups; each against the rows it must hold."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_examples import counting_columns, counting_episode, counting_log, npz_block

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def long_episode(steps: int, e: int = 0, terminated: bool = True, **fields: Any) -> Episode:
    """Observation t is (t, e), the reward of step t is t and its cost -t; actions fill [-1, 1]."""
    clock = np.arange(steps + 1.0)
    obs = {"state": np.stack([clock, np.full(steps + 1, e)], axis=1)}
    action = np.linspace(-1, 1, steps)[:, None]
    return Episode(obs, action, clock[:-1], terminated, cost=-clock[:-1, None], **fields)


def stored(folder: Path, episodes: list[Episode], fraction: float = 0.2, **options: Any) -> PreparedDataset:
    log = LoggedData("log", "test", episodes, action_low=[-1.0], action_high=[1.0])
    return write_dataset(folder / "d", log, "log", fraction, 0, **options)


def sides(dataset: PreparedDataset) -> list[tuple[str, list[float]]]:
    """Side, episode number, first and last observed row of each stored episode."""
    obs = dataset.obs["state"]
    bounds = zip(dataset.offsets[:-1], dataset.offsets[1:], dataset.held_out, strict=True)
    return [("held out" if h else "train", [obs[a, 1], obs[a, 0], obs[b - 1, 0]]) for a, b, h in bounds]


def warned(dataset: PreparedDataset, text: str) -> bool:
    return any(text in warning for warning in dataset.spec.warnings)


def test_one_long_episode_is_cut_and_nothing_lies_on_both_sides(tmp_path: Path) -> None:
    dataset = stored(tmp_path, [long_episode(1000)], split="last", split_gap=32)
    assert sides(dataset) == [
        ("train", [0, 0, 768]),
        ("held out", [0, 800, 884]),
        ("held out", [0, 916, 1000]),
    ]
    batch = dataset.transitions("all")
    np.testing.assert_array_equal(batch["reward"], batch["obs"][:, 0])
    np.testing.assert_array_equal(batch["next_obs"][:, 0], batch["obs"][:, 0] + 1)
    np.testing.assert_allclose(batch["action"][:, 0], batch["obs"][:, 0] / 999 * 2 - 1, atol=1e-6)
    last = dataset.offsets[1:] - 1
    cost = np.load(tmp_path / "d" / "cost.npy")
    for final in (dataset.reward[last], dataset.action[last], cost[last], dataset.terminal[last]):
        assert not final.any()
    np.testing.assert_array_equal(cost[dataset.steps("all"), 0], -batch["reward"].numpy())
    assert batch["terminal"].numpy().nonzero()[0].tolist() == [len(batch["reward"]) - 1]
    assert (dataset.spec.split, dataset.spec.terminals, dataset.spec.transitions) == ("last", 1, 768 + 84 + 84)
    assert warned(dataset, "64 steps between training and held-out parts are left out because of `dataset.split_gap`")


def test_of_many_episodes_the_last_whole_ones_are_held_out(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", counting_log((5,) * 20, action_high=[4.0]), "log", 0.2, 0, split="last")
    assert dataset.held_out.tolist() == [False] * 16 + [True] * 4
    assert dataset.spec.transitions == 100
    assert not warned(dataset, "left out")


def test_six_days_leave_two_parts_of_the_last_day(tmp_path: Path) -> None:
    """The case that a random split of six daily files gives one held-out episode."""
    days = [long_episode(1000, e, False) for e in range(6)]
    at_random = stored(tmp_path, days, 0.1)
    assert at_random.spec.held_out_episodes == 1
    assert warned(at_random, "1 held-out episode: errors are measured on it alone, and calibration cannot be judged; ")
    dataset = stored(tmp_path, days, 0.1, split="last")
    assert sides(dataset)[5:] == [
        ("train", [5, 0, 368]),
        ("held out", [5, 400, 684]),
        ("held out", [5, 716, 1000]),
    ]
    assert not warned(dataset, "held-out episode:")


def test_times_come_before_the_order_of_the_log(tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]
    spans = [(1e9 + 100.0 * e, 1e9 + 100.0 * e + 50) for e in order]
    episodes = [long_episode(40, e, span=span) for e, span in zip(order, spans, strict=True)]
    dataset = stored(tmp_path, episodes, 0.4, split="last")
    assert sorted(dataset.obs["state"][dataset.offsets[dataset.episodes("held_out")], 1]) == [3, 4]


def test_machines_that_run_at_the_same_time_are_cut_at_the_same_time(tmp_path: Path) -> None:
    machines = [long_episode(400, e, span=(5000.0, 5400.0), group=f"m{e}") for e in range(3)]
    dataset = stored(tmp_path, machines, 0.25, split="last", split_gap=10)
    assert sides(dataset) == [side for e in range(3) for side in (("train", [e, 0, 290]), ("held out", [e, 300, 400]))]
    assert not warned(dataset, "overlap in time")
    assert not warned(dataset, "held-out groups")


def test_a_clock_that_restarts_says_nothing_about_the_order(tmp_path: Path) -> None:
    episodes = [long_episode(40, e, span=(0.1, 40.1)) for e in range(10)]
    dataset = stored(tmp_path, episodes, 0.2, split="last")
    assert dataset.held_out.tolist() == [False] * 8 + [True] * 2
    assert not warned(stored(tmp_path, episodes, 0.2), "overlap in time")


def test_copies_stay_together_in_time(tmp_path: Path) -> None:
    numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 9]  # the copy of 2 at the end counts as early
    dataset = stored(tmp_path, [long_episode(40, e) for e in numbers], 0.25, split="last")
    held_out = {numbers[e] for e in dataset.episodes("held_out")}
    assert held_out == {8, 9}
    assert not held_out & {numbers[e] for e in dataset.episodes("train")}


def test_a_cut_log_and_a_share_of_the_training_episodes(tmp_path: Path) -> None:
    dataset = stored(tmp_path, [long_episode(500, e) for e in range(4)], 0.1, split="last", train_share=0.5)
    assert sides(dataset)[-2:] == [("held out", [3, 300, 384]), ("held out", [3, 416, 500])]
    assert len(dataset.episodes("train")) == 2
    batch = dataset.transitions("all")
    np.testing.assert_array_equal(batch["reward"], batch["obs"][:, 0])


def test_too_short_for_a_cut(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log: `dataset.split: last`.*100 steps.*lower `dataset.split_gap`, raise"):
        stored(tmp_path, [long_episode(100)], 0.1, split="last")
    assert sides(stored(tmp_path, [long_episode(100)], 0.1, split="last", split_gap=5)) == [
        ("train", [0, 0, 85]),
        ("held out", [0, 90, 100]),
    ]


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    episodes = [long_episode(10, e, group=f"patient {e % 5}") for e in range(20)]
    dataset = stored(tmp_path, episodes, 0.4, split="group")
    held_out = {e % 5 for e in dataset.episodes("held_out")}
    assert len(held_out) == 2
    assert not held_out & {e % 5 for e in dataset.episodes("train")}
    assert dataset.spec.split == "group"
    assert not warned(dataset, "groups")
    at_random = stored(tmp_path, episodes, 0.4)
    there = len({e % 5 for e in at_random.episodes("held_out")})
    assert warned(at_random, f"{there} of {there} held-out groups are in the training split too")


def test_groups_that_cannot_be_held_out_are_refused(tmp_path: Path) -> None:
    episodes = [long_episode(10, e, group="a") for e in range(4)]
    with pytest.raises(ValueError, match=r"all episodes are of group a; set `dataset.split: last`, or name another"):
        stored(tmp_path, episodes, split="group")
    some = [*episodes, long_episode(10, 5)]
    with pytest.raises(ValueError, match=r"1 episodes have no group; set a table's `dataset.group_column`"):
        stored(tmp_path, some, split="group")


def test_a_random_split_is_what_it_was(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", counting_log((3,) * 30, action_high=[4.0]), "log", 0.3, 7)
    expected = np.random.default_rng(7).permutation(30)[:9]
    assert dataset.episodes("held_out").tolist() == sorted(expected.tolist())
    assert dataset.spec.split == "random"


def test_overlapping_windows_on_both_sides_are_a_warning(tmp_path: Path) -> None:
    def windows(shift: float) -> list[Episode]:
        return [long_episode(40, e, span=(1e6 + shift * e, 1e6 + shift * e + 40)) for e in range(10)]

    assert warned(stored(tmp_path, windows(20.0), 0.2), "2 of 2 held-out episodes overlap in time with training")
    assert not warned(stored(tmp_path, windows(40.0), 0.2), "overlap in time")


def test_marks_of_the_log_go_before_and_contradict_another_split(tmp_path: Path) -> None:
    episodes = [dataclasses.replace(counting_episode(e, 3), held_out=e > 1) for e in range(4)]
    assert stored(tmp_path, episodes).spec.split == "given"
    with pytest.raises(ValueError, match=r"`dataset.split: last`, but the log marks its held-out episodes; set it to"):
        stored(tmp_path, episodes, split="last")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": "lst"}, "`dataset.split`: `lst` must be one of random, last, group"),
        ({"split_gap": 0}, "`dataset.split_gap`: 0 must be at least 1"),
        ({"split": "last", "held_out_path": "other.npz"}, "another file is held out; set `held_out_path` to the same"),
        (
            {"split": "last", "exogenous_forecast": 40},
            "exogenous_forecast 40 must be below split_gap 32",
        ),
    ],
)
def test_options_that_do_not_agree(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    block = npz_block(tmp_path / "log.npz", counting_columns())
    with pytest.raises(ValueError) as caught:
        choose(SOURCES, {**block, **options}, "dataset", key="source")
    assert expected in str(caught.value)
