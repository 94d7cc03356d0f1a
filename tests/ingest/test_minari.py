"""Minari datasets: collected, nested and damaged ones."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Space, Tuple
from minari.data_collector import EpisodeBuffer
from minari.storage import remotes
from minari.storage.remotes.cloud_storage import CloudStorage

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.collect import BehaviorConfig, CollectConfig, collect_minari
from pipeline.ingest.sources.minari import minari_root
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def ingest(folder: Path, **block: Any) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def collect(folder: Path, **options: Any) -> PreparedDataset:
    return ingest(folder, source="collect", path="data/logs", held_out_path="data/logs", **options)


def store(root: Path, obs_space: Space, action_space: Space, obs: Any, actions: np.ndarray) -> dict[str, Any]:
    """Two episodes of three steps, the second of them terminated; the block of params.yaml that reads them."""
    buffers = [
        EpisodeBuffer(
            id=e,
            observations=obs,
            actions=actions,  # type: ignore[arg-type]
            rewards=[1.0, 2.0, float(e)],
            terminations=[False, False, e == 1],
            truncations=[False, False, e == 0],
        )
        for e in range(2)
    ]
    root.mkdir()
    with minari_root(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "test/log-v0", buffers, observation_space=obs_space, action_space=action_space
        )
    return {"source": "minari", "path": str(root), "held_out_path": str(root), "dataset_id": "test/log-v0"}


def test_collected_dataset_is_a_real_minari_dataset(tmp_path: Path) -> None:
    dataset = collect(tmp_path / "d", episodes=4)
    with minari_root(tmp_path / "d" / "minari"):
        stored = minari.load_dataset("pendulum/mixed-v0")
    assert (stored.total_episodes, stored.total_steps) == (4, 800)
    np.testing.assert_array_equal(dataset.obs["state"][:201], stored[0].observations)
    np.testing.assert_allclose(dataset.action[:200], stored[0].actions / 2, atol=1e-6)
    assert (dataset.spec.action_low, dataset.spec.action_bounds) == ([-2.0], "declared")
    assert (dataset.spec.terminals, dataset.spec.max_episode_steps, dataset.spec.ref_min_score) == (0, 200, None)


def test_collecting_is_reproducible_to_the_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        collect(tmp_path / name, episodes=3)
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()]
    assert Path("minari/pendulum/mixed-v0/data/main_data.hdf5") in files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert collect(tmp_path / "c", episodes=3, seed=1).spec.digest != collect(tmp_path / "a", episodes=3).spec.digest


def test_default_mixture_is_between_random_and_good(tmp_path: Path) -> None:
    returns = collect(tmp_path / "d", episodes=60).episode_returns("all")
    assert -950 < returns.mean() < -600
    swing_up, random = returns[:21].mean(), returns[-18:].mean()
    assert swing_up > returns.mean() + 150 > random + 300


def test_shares_never_change_the_number_of_episodes(tmp_path: Path) -> None:
    thirds = [BehaviorConfig("random", 1 / 3), BehaviorConfig("swing_up", 1 / 3), BehaviorConfig("random", 1 / 3)]
    config = CollectConfig("data/logs", "data/logs", episodes=4, behaviors=thirds)
    collect_minari(config, tmp_path)
    facts = json.loads((tmp_path / "pendulum/mixed-v0/data/metadata.json").read_text())
    assert facts["total_episodes"] == 4


def test_nested_observations_keep_their_names(tmp_path: Path) -> None:
    vector = Box(-1, 1, (2,), np.float32)
    obs = {
        "arm": np.zeros((4, 2), np.float32),
        "sensors": (np.ones((4, 2), np.float32), np.full((4, 2), 0.5, np.float32)),
    }
    space = Dict({"arm": vector, "sensors": Tuple((vector, vector))})
    actions = np.array([[-4.0], [0.0], [4.0]], np.float32)
    dataset = ingest(tmp_path / "d", **store(tmp_path / "m", space, Box(-4, 4, (1,), np.float32), obs, actions))
    assert dataset.spec.obs_shapes == {"arm": [2], "sensors.0": [2], "sensors.1": [2]}
    assert dataset.flat_obs(np.array([0])).tolist() == [[0, 0, 1, 1, 0.5, 0.5]]
    assert dataset.action[:4, 0].tolist() == [-1, 0, 1, 0]
    assert dataset.terminal[dataset.steps("all")].tolist() == [False] * 5 + [True]


def test_unreachable_remote_and_near_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(dataset_id: str, force_download: bool) -> None:
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(minari, "download_dataset", unreachable)
    space = Box(-1, 1, (1,), np.float32)
    block = store(tmp_path / "m", space, space, np.zeros((4, 1), np.float32), np.zeros((3, 1), np.float32))
    with pytest.raises(
        ValueError, match=r"no Minari dataset `test/lug-v0` \(did you mean `test/log-v0`\?\); download failed: no route"
    ):
        ingest(tmp_path / "d", **{**block, "dataset_id": "test/lug-v0"})


class FakeRemote(CloudStorage):
    """A folder that stands for a remote; ``broken`` lets a download stop after the metadata."""

    folder: Path
    broken: bool
    requests: list[str]

    def __init__(self, name: str, token: str | None = None) -> None:
        self.requests.append(name)

    def list_datasets(self, prefix: str | None = None) -> list[str]:
        return ["test/log-v0"]

    def get_dataset_metadata(self, dataset_id: str) -> dict[str, Any]:
        return json.loads((self.folder / dataset_id / "data/metadata.json").read_text())  # type: ignore[no-any-return]

    def download_dataset(self, dataset_id: str, path: Path) -> None:
        target = path / dataset_id / "data"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("metadata.json", "main_data.hdf5"):
            if self.broken and name == "main_data.hdf5":
                (target / name).write_bytes(b"half")
                raise ConnectionError("line cut")
            shutil.copy(self.folder / dataset_id / "data" / name, target)
        (path / "test/.cache/huggingface").mkdir(parents=True)

    def list_namespaces(self) -> list[str]:
        return ["test"]

    def download_namespace_metadata(self, namespace: str, path: Path) -> None:
        (path / namespace / "namespace_metadata.json").write_text("{}")

    def upload_dataset(self, dataset_id: str) -> None:
        raise AssertionError

    def upload_namespace(self, namespace: str) -> None:
        raise AssertionError


@pytest.mark.parametrize("dataset_id", ["test/log-v0", "hf://someone/test/log-v0"])
def test_download_that_broke_off_goes_on(dataset_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Box(-1, 1, (1,), np.float32)
    block = store(tmp_path / "m", space, space, np.zeros((4, 1), np.float32), np.zeros((3, 1), np.float32))
    remote = type("Remote", (FakeRemote,), {"folder": tmp_path / "m", "broken": True, "requests": []})
    monkeypatch.setitem(remotes._registry, "hf", lambda: remote)
    root = tmp_path / "root"
    block |= {"path": str(root), "held_out_path": str(root), "dataset_id": dataset_id}
    with pytest.raises(ValueError, match=r"log-v0: incomplete; download failed: line cut; run again to resume"):
        ingest(tmp_path / "d", **block)
    remote.broken = False
    assert ingest(tmp_path / "d", **block).spec.episodes == 2
    left = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
    data = ["test/log-v0/data/main_data.hdf5", "test/log-v0/data/metadata.json"]
    assert left == [*data, "test/namespace_metadata.json"]
    assert not (root / "test/.cache").exists()
    assert set(remote.requests) == {"someone" if "://" in dataset_id else "farama-minari"}
    shutil.rmtree(tmp_path / "m")  # no further requests from here on
    assert ingest(tmp_path / "e", **block).spec.episodes == 2


def test_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"dataset_id `s3://a/b-v0` is not an address of a Minari remote; write hf://owner"
    ):
        ingest(tmp_path / "d", source="minari", path="a", held_out_path="a", dataset_id="s3://a/b-v0")


def test_damaged_dataset_is_refused(tmp_path: Path) -> None:
    space = Box(-1, 1, (1,), np.float32)
    block = store(tmp_path / "m", space, space, np.zeros((4, 1), np.float32), np.zeros((3, 1), np.float32))
    file = tmp_path / "m/test/log-v0/data/main_data.hdf5"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged at episode 0"):
        ingest(tmp_path / "d", **block)
    (file.parent / "metadata.json").write_text("{")
    with pytest.raises(ValueError, match=r"unreadable Minari dataset .* restore it from a copy"):
        ingest(tmp_path / "d", **block)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"behaviors": [{"name": "swingup"}]}, "thermostat (did you mean `swing_up`?)"),
        (
            {"env_id": "MountainCarContinuous-v0"},
            "`swing_up` is for Pendulum; env_id MountainCarContinuous-v0 has random",
        ),
        ({"env_id": "CartPole-v1"}, "`swing_up` is for Pendulum; env_id CartPole-v1 has random, balance, lean"),
        ({"env_id": "Pendulum-v9"}, "`dataset.env_id: Pendulum-v9` cannot be made"),
        ({"episodes": 1}, "`dataset.episodes`: 1 must be at least 2"),
    ],
)
def test_bad_collect_options(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        collect(tmp_path / "d", **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_environments_can_be_collected_at_random(tmp_path: Path) -> None:
    options = {"env_id": "MountainCarContinuous-v0", "behaviors": [{"name": "random"}], "episodes": 2}
    spec = collect(tmp_path / "d", **options).spec
    limit = gymnasium.spec("MountainCarContinuous-v0").max_episode_steps
    assert (spec.transitions, spec.max_episode_steps, spec.action_low) == (2 * (limit or 0), limit, [-1.0])


def test_environment_of_another_package_is_imported_by_its_id_and_optional(tmp_path: Path) -> None:
    box = Box(-1.0, 1.0, (2,), np.float32)
    block = store(tmp_path / "m", box, box, np.zeros((4, 2), np.float32), np.zeros((3, 2), np.float32))
    file = tmp_path / "m" / "test" / "log-v0" / "data" / "metadata.json"
    spec = json.loads(gymnasium.spec("Pendulum-v1").to_json())
    spec |= {"id": "Arm-v0", "entry_point": "no_such_robots.envs:Arm"}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"env_spec": json.dumps(spec)}))
    dataset = ingest(tmp_path / "d", **block)
    assert dataset.spec.env_id is None
    warning = next(w for w in dataset.spec.warnings if "cannot be made" in w)
    assert "set `dataset.env_id: no_such_robots:Arm-v0`" in warning
    with pytest.raises(ValueError, match=r"`dataset\.env_id: no_such_robots:Arm-v0` cannot be made"):
        ingest(tmp_path / "e", env_id="no_such_robots:Arm-v0", **block)
