"""Minari's layouts on disk, where datasets are, and what is kept at the ends of episodes."""

import json
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
from gymnasium.spaces import Box
from minari.data_collector import EpisodeBuffer
from minari.serialization import serialize_space
from minari_logs import episode, ingest, ramp, record, refusal, still, store

LINE = Box(-1e6, 1e6, (1,), np.float32)
UNIT = Box(-1, 1, (1,), np.float32)


def logged(root: Path, *buffers: EpisodeBuffer, **options: Any) -> dict[str, Any]:
    return store(root, list(buffers), observation_space=LINE, action_space=UNIT, **options)


@pytest.mark.usefixtures("valves_allowed")
def test_all_formats_give_the_same(tmp_path: Path) -> None:
    env = gymnasium.make("valves:Valves-v0")
    digests = {
        ingest(tmp_path / name, **record(tmp_path / f"m-{name}", env, data_format=name)).spec.digest
        for name in ("hdf5", "arrow", "parquet")
    }
    assert len(digests) == 1


def test_long_episodes_of_arrow_are_whole(tmp_path: Path) -> None:
    steps = 140_000  # more than the 131,072 rows of one batch
    long, short = episode(ramp(steps + 1), still(steps), steps), episode(ramp(3, 7), still(2), 2)
    dataset = ingest(tmp_path / "d", **logged(tmp_path / "m", long, short, data_format="arrow"))
    assert dataset.episode_lengths("all").tolist() == [steps, 2]
    assert dataset.obs["state"][steps : steps + 4, 0].tolist() == [steps, 7, 8, 9]


def minari_04(root: Path, dataset_id: str, **changes: Any) -> dict[str, Any]:
    """The layout of Minari 0.4: attributes in the file, no metadata.json."""
    folder = root / dataset_id / "data"
    folder.mkdir(parents=True)
    spaces = {"observation_space": serialize_space(LINE), "action_space": serialize_space(UNIT)}
    names = {"dataset_id": dataset_id, "minari_version": "~=0.4.3", "total_episodes": 2, "total_steps": 6}
    with h5py.File(folder / "main_data.hdf5", "w") as file:
        file.attrs.update({name: value for name, value in {**names, **spaces, **changes}.items() if value is not None})
        for e in range(2):
            group = file.create_group(f"episode_{e}")
            group.attrs.update({"id": e, "total_steps": 3, "seed": "None"})
            group["observations"], group["actions"] = ramp(4, 10 * e), still(3)
            group["rewards"] = np.array([1.0, 2.0, e])
            group["terminations"], group["truncations"] = np.arange(3) == 2 + (e == 0), np.arange(3) == 2 + (e == 1)
    return {"source": "minari", "path": str(root), "dataset_id": dataset_id}


@pytest.mark.parametrize("dataset_id", ["maze-umaze-v0", "lab/arm/maze-v12"])
def test_minari_04_is_read_from_its_attributes(dataset_id: str, tmp_path: Path) -> None:
    dataset = ingest(tmp_path / "d", **minari_04(tmp_path / "m", dataset_id))
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert (dataset.spec.terminals, dataset.spec.action_low) == (1, [-1])
    assert dataset.episode_returns("all").tolist() == [3, 4]


def test_spaces_that_the_metadata_lack_are_those_of_the_environment(tmp_path: Path) -> None:
    spec = gymnasium.spec("Pendulum-v1").to_json()
    spaces = {"observation_space": None, "action_space": None}
    block = minari_04(tmp_path / "m", "old-v0", env_spec=spec, **spaces)
    with pytest.raises(ValueError, match=r"shape \[1\] per step, but its space has \[3\]; correct the log"):
        ingest(tmp_path / "d", **block)
    block = minari_04(tmp_path / "n", "old-v0", env_spec=spec.replace("gymnasium.envs", "no_such"), **spaces)
    with pytest.raises(
        ValueError, match="its spaces are those of its environment: `no_such` is not installed; install its"
    ):
        ingest(tmp_path / "d", **block)


def test_messages_name_the_place_and_never_ask_to_delete(tmp_path: Path) -> None:
    root = tmp_path / "m"
    block = logged(root, episode(ramp(3), still(2), 2), episode(ramp(3), still(2), 2))
    minari_04(root, "maze-v1")
    cases = [
        ({"dataset_id": "maze"}, "(did you mean `maze-v1`?); an id ends with its version, such as -v0"),
        ({"dataset_id": "test/log"}, "(did you mean `test/log-v0`?); an id ends with its version"),
        ({"path": str(root / "test")}, f"lies inside the dataset; set `dataset.path` to its root, {root}"),
        ({"path": str(root / "test/log-v0/data")}, f"set `dataset.path` to its root, {root}"),
    ]
    for options, expected in cases:
        assert expected in refusal(tmp_path, **{**block, **options})
    file = root / "test/log-v0/data/metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"minari_version": "0.9.0"}))
    assert "data: written by Minari 0.9.0, and" in refusal(tmp_path, **block)
    file.unlink()
    assert "log-v0: incomplete; metadata.json or the data are missing: copy them" in refusal(tmp_path, **block)
    assert not list(root.glob(".*"))


def terminal_rows(dataset: Any) -> list[list[float]]:
    """For each episode the observations, and whether it terminated."""
    return [
        [*dataset.obs["state"][start:stop, 0].tolist(), float(dataset.terminal[stop - 2])]
        for start, stop in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    ]


def test_an_episode_with_ends_inside_is_divided_there(tmp_path: Path) -> None:
    block = logged(tmp_path / "m", episode(ramp(7), still(6), 6, ends=[2, 5]), episode(ramp(3, 20), still(2), 2))
    dataset = ingest(tmp_path / "d", **block)
    # The observation after an end inside may be that of the next task, so the last one before it is repeated.
    assert terminal_rows(dataset) == [[0, 1, 2, 2, 1], [3, 4, 5, 6, 1], [20, 21, 22, 0]]
    assert dataset.reward[dataset.steps("all")].tolist() == [1, 2, 3, 4, 5, 6, 1, 2]
    assert any("1 stored episodes are divided where end flags are set inside" in w for w in dataset.spec.warnings)
    assert (dataset.spec.dropped, dataset.spec.terminals) == (0, 2)


def test_steps_on_which_the_flag_stays_set_come_after_the_end(tmp_path: Path) -> None:
    stays = episode(ramp(8), still(7), 7, ends=[2, 3, 4, 5, 6])
    block = logged(tmp_path / "m", stays, episode(ramp(3, 20), still(2), 2))
    assert "4 steps on which an end flag stays set, and with them 71 % of the return" in refusal(tmp_path, **block)
    dataset = ingest(tmp_path / "d", **block, max_dropped_return=0.8)
    assert terminal_rows(dataset) == [[0, 1, 2, 3, 1], [20, 21, 22, 0]]
    assert dataset.spec.dropped == 4


def test_logs_without_any_end_keep_every_step(tmp_path: Path) -> None:
    dataset = ingest(tmp_path / "d", **logged(tmp_path / "m", *(episode(ramp(4, e), still(3), 3) for e in range(3))))
    assert (dataset.spec.transitions, dataset.spec.terminals, dataset.spec.dropped) == (9, 0, 0)
    assert not [w for w in dataset.spec.warnings if "drop" in w or "divided" in w]


@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_last_steps_without_a_next_observation(form: str, tmp_path: Path) -> None:
    buffers = [episode(ramp(3), still(3), 3, ends=[2]), episode(ramp(4, 20), still(4), 4)]
    block = logged(tmp_path / "m", *buffers, data_format=form)
    dataset = ingest(tmp_path / "d", **block, max_dropped_return=0.5)
    assert terminal_rows(dataset) == [[0, 1, 2, 2, 1], [20, 21, 22, 23, 0]]
    assert dataset.spec.dropped == 1


@pytest.mark.parametrize(("first", "form"), [(0, "hdf5"), (1, "hdf5"), (1, "arrow"), (1, "parquet")])
def test_costs_come_from_the_infos(first: int, form: str, tmp_path: Path) -> None:
    """``first`` is 1 where infos begin with that of the reset."""
    costs = [np.arange(-first, 3.0) + 10 * e for e in range(2)]
    buffers = [episode(ramp(4), still(3), 3, infos={"safety": {"cost": list(cost)}}) for cost in costs]
    block = logged(tmp_path / "m", *buffers, data_format=form)
    dataset = ingest(tmp_path / "d", **block, cost_key="safety/cost")
    assert dataset.spec.cost_names == ["cost"]
    stored = np.load(tmp_path / "d" / "cost.npy")
    assert stored[[0, 1, 2, 4, 5, 6], 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert "no `cost` in its infos; correct `dataset.cost_key`" in refusal(tmp_path, **block, cost_key="cost")
