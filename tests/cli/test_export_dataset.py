"""A prepared dataset as a Minari dataset: equal arrays, ends and units."""

import dataclasses
from pathlib import Path
from unittest import mock

import minari
import numpy as np
import pytest
from data_examples import LENGTHS, counting_episode, counting_log

from pipeline.cli.export_dataset import export_minari
from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.minari import minari_root
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def load(root: Path, dataset_id: str) -> minari.MinariDataset:
    with minari_root(root):
        return minari.load_dataset(dataset_id)


def ingested_again(root: Path, dataset_id: str, folder: Path) -> PreparedDataset:
    block = {"source": "minari", "path": str(root), "held_out_path": str(root), "dataset_id": dataset_id}
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", 0.3, 0)


def test_arrays_units_and_ends(tmp_path: Path) -> None:
    facts = {"ref_min_score": -5.0, "ref_max_score": 9.0, "action_low": [-2.0], "action_high": [6.0]}
    dataset = write_dataset(tmp_path / "d", counting_log(**facts), "counting", 0.3, 0)
    line = export_minari(tmp_path / "d", "mine/counting-v0", tmp_path / "root")[0]
    assert line.endswith("mine/counting-v0: 19 steps, 5 episodes, 3 true ends")
    stored = load(tmp_path / "root", "mine/counting-v0")
    assert (stored.total_episodes, stored.total_steps) == (5, sum(LENGTHS))
    assert (stored.action_space.low.tolist(), stored.action_space.high.tolist()) == ([-2.0], [6.0])
    for e, (steps, episode) in enumerate(zip(LENGTHS, stored, strict=True)):
        logged = counting_episode(e, steps)
        np.testing.assert_array_equal(episode.observations, logged.obs["state"])
        np.testing.assert_array_equal(episode.rewards, logged.reward)
        np.testing.assert_allclose(episode.actions, logged.action, rtol=0, atol=5e-7)
        assert episode.terminations.tolist() == [False] * (steps - 1) + [e % 2 == 0]
        assert episode.truncations.tolist() == [False] * (steps - 1) + [e % 2 == 1]
    again = ingested_again(tmp_path / "root", "mine/counting-v0", tmp_path / "again")
    assert again.obs["state"].tobytes() == dataset.obs["state"].tobytes()
    assert again.terminal.tobytes() == dataset.terminal.tobytes()
    np.testing.assert_allclose(again.action, dataset.action, atol=2e-7)
    assert (again.spec.ref_min_score, again.spec.ref_max_score) == (-5.0, 9.0)


def test_several_observations_and_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def seen() -> dict[str, np.ndarray]:
        arm, eye = rng.normal(size=(4, 2)), rng.integers(256, size=(4, 32, 32, 3))
        return {"arm": arm.astype(np.float32), "eye": eye.astype(np.uint8)}

    episodes = [dataclasses.replace(counting_episode(e, 3), obs=seen()) for e in range(2)]
    write_dataset(tmp_path / "d", counting_log(episodes=episodes), "seeing", 0.5, 0)
    export_minari(tmp_path / "d", "seeing-v0", tmp_path / "root")
    for logged, episode in zip(episodes, load(tmp_path / "root", "seeing-v0"), strict=True):
        for key, array in logged.obs.items():
            np.testing.assert_array_equal(episode.observations[key], array)


def test_environment_is_kept(tmp_path: Path) -> None:
    episodes = [dataclasses.replace(counting_episode(e, 3), obs={"state": np.ones((4, 3), np.float32)}) for e in (0, 1)]
    write_dataset(
        tmp_path / "d", counting_log(episodes=episodes, env_id="Pendulum-v1", env_kwargs={"g": 9.0}), "p", 0.5, 0
    )
    export_minari(tmp_path / "d", "pendulum/mine-v1", tmp_path / "root")
    spec = load(tmp_path / "root", "pendulum/mine-v1").env_spec
    assert spec is not None
    assert (spec.id, spec.kwargs) == ("Pendulum-v1", {"g": 9.0})


def test_a_relative_root_is_one_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "d", counting_log(), "counting", 0.3, 0)
    monkeypatch.chdir(tmp_path)
    line = export_minari(Path("d"), "mine/counting-v0", Path("data/minari"))[0]
    assert line.startswith("data/minari/mine/counting-v0: 19 steps")
    assert load(tmp_path / "data/minari", "mine/counting-v0").total_steps == sum(LENGTHS)


def test_what_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "d", counting_log(), "counting", 0.3, 0)
    monkeypatch.setattr("minari.dataset.minari_storage.MinariStorage.update_metadata", mock.Mock(side_effect=OSError))
    with pytest.raises(OSError):
        export_minari(tmp_path / "d", "mine/counting-v0", tmp_path / "root")
    assert not (tmp_path / "root/mine/counting-v0").exists()


def test_bad_targets(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", counting_log(), "my logs", 0.3, 0)
    with pytest.raises(
        ValueError, match="`logs` is not a valid Minari id; use namespace/name-v0, such as mine/my-logs-v0"
    ):
        export_minari(tmp_path / "d", "logs", tmp_path / "root")
    export_minari(tmp_path / "d", "logs-v0", tmp_path / "root")
    with pytest.raises(ValueError, match="exists; choose another id"):
        export_minari(tmp_path / "d", "logs-v0", tmp_path / "root")
    with pytest.raises(ValueError, match="no prepared dataset"):
        export_minari(tmp_path / "nowhere", "logs-v1", tmp_path / "root")
