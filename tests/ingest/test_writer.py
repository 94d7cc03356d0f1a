import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_examples import LENGTHS, counting_episode, counting_log
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import rewrite

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.spec import SCHEMA_VERSION
from pipeline.envs.action_space import BoxActions
from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.writer import write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    return write_dataset(tmp_path / "dataset", counting_log(), "counting", 0.3, seed=0)


def test_every_transition_is_kept_and_none_crosses_an_episode(dataset: PreparedDataset) -> None:
    batch = {name: tensor.numpy() for name, tensor in dataset.transitions("all").items()}
    assert len(batch["reward"]) == sum(LENGTHS) == dataset.spec.transitions
    clock, episode = batch["obs"].T
    np.testing.assert_array_equal(clock, np.concatenate([100 * e + np.arange(n) for e, n in enumerate(LENGTHS)]))
    np.testing.assert_array_equal(batch["next_obs"], np.stack([clock + 1, episode], axis=1))
    np.testing.assert_array_equal(batch["reward"], clock)
    np.testing.assert_allclose(batch["action"][:, 0], clock / 1000, atol=1e-7)


def test_only_true_ends_are_terminal(dataset: PreparedDataset) -> None:
    batch = dataset.transitions("all")
    terminal = batch["obs"][batch["terminal"] > 0].numpy()
    assert terminal.tolist() == [[100 * e + n - 1, e] for e, n in enumerate(LENGTHS) if e % 2 == 0]
    assert dataset.spec.terminals == 3


def test_last_row_of_an_episode_is_its_final_observation_alone(dataset: PreparedDataset) -> None:
    last = dataset.offsets[1:] - 1
    assert dataset.obs["state"][last, 0].tolist() == [100 * e + n for e, n in enumerate(LENGTHS)]
    assert not dataset.action[last].any()
    assert not dataset.reward[last].any()
    assert not dataset.terminal[last].any()


def test_splits_share_no_episode_and_miss_none(dataset: PreparedDataset) -> None:
    train, held_out = set(dataset.episodes("train").tolist()), set(dataset.episodes("held_out").tolist())
    assert train | held_out == set(range(len(LENGTHS)))
    assert not train & held_out
    assert len(held_out) == dataset.spec.held_out_episodes == 2
    assert set(dataset.transitions("held_out")["obs"][:, 1].tolist()) == {float(e) for e in held_out}


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=6), window=st.integers(1, 7))
def test_windows_are_all_runs_inside_one_episode(
    lengths: list[int], window: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("windows") / "dataset"
    dataset = write_dataset(folder, counting_log(tuple(lengths)), "windows", 0.3, seed=1)
    starts = dataset.obs["state"][dataset.windows("all", window), 0].tolist()
    assert starts == [100 * e + t for e, n in enumerate(lengths) for t in range(n - window + 1)]


def test_returns_and_lengths_by_episode(dataset: PreparedDataset) -> None:
    expected = [sum(100 * e + t for t in range(n)) for e, n in enumerate(LENGTHS)]
    assert dataset.episode_returns("all").tolist() == expected
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    held_out = dataset.episodes("held_out")
    assert dataset.episode_returns("held_out").tolist() == [expected[e] for e in held_out]


def test_statistics_are_of_the_train_split(dataset: PreparedDataset) -> None:
    rows = np.concatenate([np.arange(dataset.offsets[e], dataset.offsets[e + 1]) for e in dataset.episodes("train")])
    obs = dataset.obs["state"][rows].astype(np.float64)
    np.testing.assert_allclose(dataset.spec.obs_mean["state"], obs.mean(axis=0))
    np.testing.assert_allclose(dataset.spec.obs_std["state"], obs.std(axis=0))
    assert dataset.spec.obs_max["state"] == obs.max(axis=0).tolist()
    reward = dataset.transitions("train")["reward"].double()
    assert dataset.spec.reward_std == pytest.approx(float(reward.std(correction=0)))


@settings(max_examples=25, deadline=None)
@given(low=st.floats(-1e3, 0), width=st.floats(1e-2, 1e3))
def test_actions_map_to_the_unit_box_and_back(
    low: float, width: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    high = low + width
    action = np.linspace(low, high, 9).astype(np.float32).reshape(-1, 1)
    obs = {"state": np.arange(10.0).reshape(-1, 1)}
    episodes = [Episode(obs, action, np.full(9, r), False) for r in (0.0, 1.0)]
    log = LoggedData("actions", "npz", episodes, action_low=[low], action_high=[high])
    dataset = write_dataset(tmp_path_factory.mktemp("actions") / "d", log, "actions", 0.5, seed=0)
    stored = dataset.action[dataset.steps("train")]
    np.testing.assert_allclose(stored[:, 0], np.linspace(-1, 1, 9), atol=2e-2)
    back = low + (stored.astype(np.float64) + 1) / 2 * width
    np.testing.assert_allclose(back, action, atol=1e-5 * (width + abs(low)))


def test_bounds_at_quantiles_keep_what_lies_beyond(tmp_path: Path) -> None:
    """101 even actions and one far out: the bounds are the 5 % quantiles, and stored actions tell the logged ones."""
    action = np.append(np.linspace(0, 100, 101), 1000).astype(np.float32)[:, None]
    obs = {"state": np.arange(103.0)[:, None]}
    episodes = [Episode(obs, action, np.full(102, r), False) for r in (0.0, 1.0)]
    log = LoggedData("actions", "npz", episodes, action_low=[-1.0], action_high=[1000.0], action_quantile=0.05)
    dataset = write_dataset(tmp_path / "d", log, "actions", 0.5, seed=0)
    low, high = dataset.spec.action_low[0], dataset.spec.action_high[0]
    assert (dataset.spec.action_bounds, low, high) == (
        "quantiles",
        pytest.approx(5, abs=0.2),
        pytest.approx(96, abs=0.2),
    )
    stored = dataset.action[dataset.steps("train")]
    assert stored.min() < -1
    assert stored.max() > 10
    np.testing.assert_allclose(BoxActions([low], [high]).denormalize(stored), action, rtol=1e-5, atol=1e-3)
    assert not dataset.action[dataset.offsets[1:] - 1].any()


def test_quantiles_that_leave_no_room_are_refused(tmp_path: Path) -> None:
    episodes = [
        Episode({"state": np.arange(21.0)[:, None]}, np.eye(20)[:, :1], np.full(20, r), False) for r in (0.0, 1.0)
    ]
    log = LoggedData("still", "npz", episodes, action_low=[0.0], action_high=[1.0], action_quantile=0.1)
    with pytest.raises(ValueError, match="action 0 is 0 at both quantiles; lower `dataset"):
        write_dataset(tmp_path / "d", log, "still", 0.5, seed=0)


def test_bounds_are_never_inferred_silently(tmp_path: Path) -> None:
    log = counting_log(action_low=None, action_high=None)
    spec = write_dataset(tmp_path / "d", log, "inferred", 0.3, seed=0).spec
    assert spec.action_bounds == "inferred"
    assert spec.action_high == pytest.approx([0.404])
    assert any("inferred from the log's extremes" in warning for warning in spec.warnings)


def test_digest_follows_content_not_time(tmp_path: Path) -> None:
    first, second = (write_dataset(tmp_path / n, counting_log(), n, 0.3, seed=0).spec.digest for n in ("a", "b"))
    other_split = write_dataset(tmp_path / "c", counting_log(), "c", 0.6, seed=0).spec.digest
    other_bounds = write_dataset(tmp_path / "d", counting_log(action_high=[2.0]), "d", 0.3, seed=0).spec.digest
    assert first == second
    assert len({first, other_split, other_bounds}) == 3
    assert len(first) == 32


def test_given_split_is_kept(tmp_path: Path) -> None:
    episodes = [dataclasses.replace(counting_episode(e, 3), held_out=e == 1) for e in range(4)]
    dataset = write_dataset(tmp_path / "d", counting_log(episodes=episodes), "given", 0.9, seed=0)
    assert dataset.held_out.tolist() == [False, True, False, False]


def test_copies_stay_on_one_side_of_the_split_and_are_reported(tmp_path: Path) -> None:
    episodes = [counting_episode(e % 3, 3) for e in range(12)]
    dataset = write_dataset(tmp_path / "d", counting_log(episodes=episodes), "copies", 0.3, seed=0)
    assert dataset.held_out.reshape(4, 3).std(axis=0).max() == 0
    (copies,) = [f for f in run_checks(dataset) if f.name == "duplicate_episodes"]
    assert copies.evidence == {"copies": 9, "share": 0.75}


def test_oddities_are_warnings(tmp_path: Path) -> None:
    episodes = [dataclasses.replace(counting_episode(0, n), reward=np.ones(n)) for n in (1, 2, 3)]
    dataset = write_dataset(tmp_path / "d", counting_log(episodes=episodes), "odd", 0.3, seed=0)
    assert dataset.spec.constant_features == {"state": [1]}
    assert dataset.spec.obs_std["state"][1] == 0
    evidence = {f.name: f.evidence for f in run_checks(dataset) if f.warns}
    assert evidence["single_step_episodes"]["episodes"] == 1
    assert evidence["constant_features"] == {"count": 1, "features": "state[1]"}
    assert evidence["equal_rewards"] == {"reward": 1.0}


def test_failure_leaves_the_old_dataset_and_no_litter(tmp_path: Path, dataset: PreparedDataset) -> None:
    bad = counting_log(
        episodes=[counting_episode(0, 3), dataclasses.replace(counting_episode(1, 3), reward=np.ones(2))]
    )
    with pytest.raises(ValueError, match=r"episode 1, reward: 2 rows, expected 3 .*; correct the log"):
        write_dataset(tmp_path / "dataset", bad, "bad", 0.3, seed=0)
    assert open_dataset(tmp_path / "dataset").spec.digest == dataset.spec.digest
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_full_disk_is_refused_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 1 << 20))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="needs 5 MiB, but 1 MiB are free; free disk space"):
        write_dataset(tmp_path / "d", counting_log(size=5 << 20), "big", 0.3, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_missing_newer_and_damaged_folders_are_refused(tmp_path: Path, dataset: PreparedDataset) -> None:
    folder = tmp_path / "dataset"
    with pytest.raises(ValueError, match="no prepared dataset; run `dvc repro ingest`"):
        open_dataset(tmp_path / "nowhere")
    spec = json.loads((folder / "spec.json").read_text())
    rewrite(folder / "spec.json", schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(ValueError, match=f"newer than {SCHEMA_VERSION}; update the project"):
        open_dataset(folder)
    (folder / "spec.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        open_dataset(folder)
    (folder / "spec.json").write_text(json.dumps(spec))
    whole = (folder / "reward.npy").read_bytes()
    (folder / "reward.npy").write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"reward.npy: truncated or corrupt"):
        open_dataset(folder)
    np.save(folder / "reward.npy", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"reward.npy: 3 rows, expected 24"):
        open_dataset(folder)


def test_card_counts(dataset: PreparedDataset) -> None:
    facts = json.loads(json.dumps(dataclasses.asdict(card(dataset, run_checks(dataset))), allow_nan=False))
    assert facts["transitions"] == facts["train_transitions"] + facts["held_out_transitions"] == sum(LENGTHS)
    assert facts["returns"]["max"] == max(dataset.episode_returns("all"))
    assert facts["lengths"]["min"] == 1
    assert facts["action_saturation"] == [0.0]
    assert facts["checks"]["episodes"]["evidence"]["longest"] == max(LENGTHS)
