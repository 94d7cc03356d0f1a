"""HDF5 files with one group an episode: robomimic, ManiSkill, Minari's own files, one file an episode; d3rlpy 2."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from data_examples import ingest_file, refusal_of_file

from pipeline.data.dataset import PreparedDataset

LENGTHS = (5, 3, 7, 4, 6, 8, 3, 5, 4, 6, 5, 7)  # so that `demo_10` must not stand before `demo_2`


ingest, refusal = (partial(function, source="hdf5_groups") for function in (ingest_file, refusal_of_file))


def clock(e: int, rows: int) -> np.ndarray:
    return 100.0 * e + np.arange(rows)


def assert_steps(dataset: PreparedDataset, lengths: tuple[int, ...] = LENGTHS) -> None:
    """Feature 0 is 100 e + t, the reward too, the action a thousandth of it."""
    expected = [c for e, n in enumerate(lengths) for c in clock(e, n)]
    batch = dataset.transitions("all")
    assert batch["obs"][:, 0].tolist() == expected
    assert batch["reward"].tolist() == expected
    low, high = np.array(dataset.spec.action_low), np.array(dataset.spec.action_high)
    action = low + (np.asarray(batch["action"]) + 1) / 2 * (high - low)
    assert np.allclose(action[:, 0] * 1000, expected, atol=0.1)
    assert (batch["next_obs"][:, 0] - batch["obs"][:, 0]).tolist() == [1.0] * len(expected)


def robomimic(file: Path, next_obs: bool = True) -> Path:
    """As the file of robomimic's documentation, with its metadata and a filter of episodes."""
    with h5py.File(file, "w") as stored:
        data = stored.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {}})
        for e, n in enumerate(LENGTHS):
            demo = data.create_group(f"demo_{e}")
            obs = {"a_pos": np.stack([clock(e, n + 1), np.full(n + 1, e)], 1), "joint": -clock(e, n + 1)[:, None]}
            for key, value in obs.items():
                demo[f"obs/{key}"] = value[:-1]
                if next_obs:
                    demo[f"next_obs/{key}"] = value[1:]
            demo["states"] = np.zeros((n, 0))
            demo["actions"] = clock(e, n)[:, None] / 1000
            demo["rewards"] = clock(e, n)
            demo["dones"] = (np.arange(n) == n - 1).astype(int)
        stored["mask/train"] = np.array([b"demo_0"])
    return file


def test_robomimic(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, robomimic(tmp_path / "log.hdf5"))
    assert_steps(dataset)
    assert dataset.spec.obs_names == {"state": ["a_pos[0]", "a_pos[1]", "joint"]}
    assert (dataset.spec.terminals, dataset.spec.dropped) == (12, 0)
    assert dataset.flat_obs(dataset.steps("all"))[:, 2].tolist() == [
        -c for e, n in enumerate(LENGTHS) for c in clock(e, n)
    ]


def test_vectors_under_their_own_names(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, robomimic(tmp_path / "log.hdf5"), concatenate=False)
    assert dataset.spec.obs_shapes == {"a_pos": [2], "joint": [1]}


def test_a_choice_of_observations(tmp_path: Path) -> None:
    file = robomimic(tmp_path / "log.hdf5")
    dataset = ingest(tmp_path, file, obs_keys=["joint"])
    assert dataset.spec.obs_names == {"state": ["joint"]}
    assert "no `obs/joints` (did you mean `joint`?); set `dataset.obs_keys`" in refusal(
        tmp_path, file, obs_keys=["joints"]
    )


def test_without_next_observations_true_ends_are_kept(tmp_path: Path) -> None:
    file = robomimic(tmp_path / "log.hdf5", next_obs=False)
    dataset = ingest(tmp_path, file)
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (12, 0)
    dataset = ingest(tmp_path, file, terminal_key=None)
    assert dataset.episode_lengths("all").tolist() == [n - 1 for n in LENGTHS]
    assert (dataset.spec.terminals, dataset.spec.dropped) == (0, 12)


def test_next_observations_in_the_wrong_row_are_counted(tmp_path: Path) -> None:
    with h5py.File(file := robomimic(tmp_path / "log.hdf5"), "a") as stored:
        stored["data/demo_3/next_obs/joint"][1] += 5
    warnings = ingest(tmp_path, file).spec.warnings
    assert any("1 next observations are not the observation of the next row" in warning for warning in warnings)


def maniskill(file: Path, images: bool = False) -> Path:
    """As ManiSkill's RecordEpisode writes it: one more observation than actions, no rewards, two kinds of ends."""
    with h5py.File(file, "w") as stored:
        for e, n in enumerate(LENGTHS):
            traj = stored.create_group(f"traj_{e}", track_order=True)
            traj["obs/agent/qpos"] = np.stack([clock(e, n + 1), np.zeros(n + 1)], 1).astype("f4")
            traj["obs/extra/tcp_pose"] = np.full((n + 1, 7), e, "f4")
            if images:
                traj["obs/sensor_data/base/rgb"] = np.full((n + 1, 32, 32, 3), e, np.uint8)
                traj["obs/sensor_data/base/depth"] = np.zeros((n + 1, 32, 32, 1), np.int16)
                traj["obs/sensor_param/base/intrinsic_cv"] = np.zeros((n + 1, 3, 3), "f4")
            traj["actions"] = (clock(e, n)[:, None] / 1000).astype("f4")
            traj["terminated"] = np.arange(n) >= n - 1 - e % 2  # success holds from then on, and the robot goes on
            traj["truncated"] = np.arange(n) == n - 1 if e % 3 == 0 else np.zeros(n, bool)
            traj["success"] = np.arange(n) >= n - 1 - e % 2
            traj["env_states/actors/cube"] = np.zeros((n + 1, 13), "f4")
            traj["score"] = clock(e, n)
    return file


MANISKILL = {"terminal_key": "terminated", "timeout_key": "truncated", "reward_key": "score"}


def test_maniskill(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, maniskill(tmp_path / "trajectory.h5"), **MANISKILL)
    assert_steps(dataset)
    names = [f"agent.qpos[{i}]" for i in range(2)] + [f"extra.tcp_pose[{i}]" for i in range(7)]
    assert dataset.spec.obs_names == {"state": names}
    assert (dataset.spec.terminals, dataset.spec.dropped) == (8, 0)  # four of twelve end at a time limit
    expected = "6 steps before the last one of an episode are marked `terminated`, but the episode goes on"
    assert any(expected in warning for warning in dataset.spec.warnings)


def test_a_mark_of_success_may_be_the_reward(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, maniskill(tmp_path / "log.h5"), **{**MANISKILL, "reward_key": "success"})
    assert dataset.transitions("all")["reward"].sum() == 12 + 6


def test_missing_rewards_are_refused(tmp_path: Path) -> None:
    file = maniskill(tmp_path / "log.h5")
    message = refusal(tmp_path, file, terminal_key="terminated")
    assert "log.h5: `/traj_0`: no dataset `rewards`" in message
    assert "set `dataset.reward_key` to its path, or to null if `dataset.transform` defines the reward" in message
    message = refusal(tmp_path, file, terminal_key="terminated", reward_key=None)
    assert "reward_key is null, so the log has no reward: write a function" in message


def test_images_beside_vectors(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, maniskill(tmp_path / "log.h5", images=True), **MANISKILL)
    assert dataset.spec.obs_shapes == {"state": [9], "sensor_data.base.rgb": [32, 32, 3]}
    assert dataset.obs["sensor_data.base.rgb"][:, 0, 0, 0].tolist() == [
        e for e, n in enumerate(LENGTHS) for _ in range(n + 1)
    ]
    assert any("`sensor_data/base/depth` [6, 32, 32, 1]" in warning for warning in dataset.spec.warnings)
    assert any("`sensor_param/base/intrinsic_cv` [6, 3, 3]" in warning for warning in dataset.spec.warnings)


def test_one_dataset_of_observations_with_the_final_one(tmp_path: Path) -> None:
    """The groups of a file of Minari."""
    with h5py.File(tmp_path / "main_data.hdf5", "w") as stored:
        for e, n in enumerate(LENGTHS):
            episode = stored.create_group(f"episode_{e}")
            episode["observations"] = np.stack([clock(e, n + 1), np.zeros(n + 1)], 1)
            episode["actions"], episode["rewards"] = clock(e, n)[:, None] / 1000, clock(e, n)[:, None]
            episode["terminations"], episode["truncations"] = np.zeros(n, bool), np.arange(n) == n - 1
    options = {"obs_key": "observations", "terminal_key": "terminations", "timeout_key": "truncations"}
    dataset = ingest(tmp_path, tmp_path / "main_data.hdf5", **options)
    assert_steps(dataset)
    assert dataset.spec.obs_names == {"state": ["state[0]", "state[1]"]}
    assert dataset.spec.terminals == 0


def test_one_file_an_episode(tmp_path: Path) -> None:
    """As ALOHA records: episode_0.hdf5 with action and observations/qpos; the reward is a column here."""
    for e, n in enumerate(LENGTHS):
        (tmp_path / "logs").mkdir(exist_ok=True)
        with h5py.File(tmp_path / f"logs/episode_{e}.hdf5", "w") as stored:
            stored["action"] = clock(e, n)[:, None] / 1000
            stored["observations/qpos"], stored["observations/qvel"] = clock(e, n)[:, None], np.zeros((n, 2))
            stored["reward"] = clock(e, n)
    options = {"obs_key": "observations", "action_key": "action", "reward_key": "reward", "terminal_key": None}
    dataset = ingest(tmp_path, tmp_path / "logs", **options)
    assert_steps(dataset, tuple(n - 1 for n in LENGTHS))
    assert dataset.spec.dropped == 12


@pytest.mark.parametrize(
    ("path", "rows", "expected"),
    [
        ("data/demo_1/rewards", 2, "`/data/demo_1`: `rewards` has 2 rows, but 3 actions; correct the log"),
        ("data/demo_1/obs/joint", 2, "`/data/demo_1`: `obs/joint` has 2 rows, expected 3 as actions, or one more"),
        ("data/demo_1/next_obs/joint", 2, "`next_obs/joint` has shape [2, 1], expected [3, 1]"),
        ("data/demo_1/obs/a_pos", None, "no `obs/a_pos`, which the first episode has; repair the log, or leave it out"),
        ("data/demo_1/obs", None, "no `obs/a_pos`"),
        ("data/demo_1/dones", None, "no dataset `dones`"),
    ],
)
def test_damaged_episodes_are_named(path: str, rows: int | None, expected: str, tmp_path: Path) -> None:
    with h5py.File(file := robomimic(tmp_path / "log.hdf5"), "a") as stored:
        kept = None if rows is None else stored[path][:rows]
        del stored[path]
        if kept is not None:
            stored[path] = kept
    message = refusal(tmp_path, file)
    assert message.startswith(f"{file}: `/data/demo_1`: ")
    assert expected in message


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("obs/joint", np.zeros((3, 2)), "`obs/joint` has shape [3, 2], but [1] per step in the first episode"),
        ("obs/joint", 3.0, "`obs/joint` holds float64 of shape [], expected numbers, one row per step"),
        ("obs/joint", [b"a"] * 3, "`obs/joint` holds object of shape [3], expected numbers, one row per step"),
        (
            "rewards",
            np.zeros((3, 2)),
            "`rewards` holds float64 of shape [3, 2], expected one number for each of 3",
        ),
        ("dones", [0, 2, 1], "`dones` must hold only 0 and 1, one per step"),
    ],
)
def test_other_shapes_and_types_are_named(path: str, value: Any, expected: str, tmp_path: Path) -> None:
    with h5py.File(file := robomimic(tmp_path / "log.hdf5"), "a") as stored:
        del stored[f"data/demo_1/{path}"]
        stored[f"data/demo_1/{path}"] = value
    assert refusal(tmp_path, file).startswith(f"{file}: `/data/demo_1`: {expected}")


def test_no_group_is_an_episode(tmp_path: Path) -> None:
    message = refusal(tmp_path, robomimic(tmp_path / "log.hdf5"), action_key="action")
    assert "no group with `action` (did you mean `actions`?); set `dataset.action_key`" in message


def test_a_group_that_lies_in_itself_is_read_once(tmp_path: Path) -> None:
    with h5py.File(file := robomimic(tmp_path / "log.hdf5"), "a") as stored:
        stored["data/again"] = stored["data"]
        stored["data/demo_0/obs/again"] = stored["data/demo_0/obs"]
    assert_steps(ingest(tmp_path, file))


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    robomimic(tmp_path / "other.hdf5")
    with h5py.File(file := robomimic(tmp_path / "log.hdf5"), "a") as stored:
        del stored["data/demo_2/rewards"]
        stored["data/demo_2/rewards"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/data/demo_2/rewards")
    assert "`data/demo_2/rewards` is a link or refers to other files" in refusal(tmp_path, file)


def d3rlpy(file: Path, parts: int = 1) -> Path:
    """As ``ReplayBuffer.dump`` of d3rlpy 2.1: numbered datasets, a tuple of observations numbered again."""
    with h5py.File(file, "w") as stored:
        stored["columns"] = ["observations", "actions", "rewards", "terminated"]
        stored["num_episodes"], stored["version"] = len(LENGTHS), "2.1"
        for e, n in enumerate(LENGTHS):
            for part in range(parts):
                name = f"observations_{e}" if parts == 1 else f"observations_{e}_{part}"
                stored[name] = (clock(e, n)[:, None] + part).astype("f4")
            stored[f"actions_{e}"] = (clock(e, n)[:, None] / 1000).astype("f4")
            stored[f"rewards_{e}"], stored[f"terminated_{e}"] = clock(e, n)[:, None].astype("f4"), e % 2 == 0
    return file


def test_d3rlpy_2(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, d3rlpy(tmp_path / "log.h5"), source="d3rlpy_hdf5")
    kept = [n - e % 2 for e, n in enumerate(LENGTHS)]
    assert dataset.episode_lengths("all").tolist() == kept
    expected = [c for e, n in enumerate(kept) for c in clock(e, n)]
    batch = dataset.transitions("all")
    assert (batch["obs"][:, 0].tolist(), batch["reward"].tolist()) == (expected, expected)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (6, 6)


def test_d3rlpy_2_with_tuples(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, d3rlpy(tmp_path / "log.h5", parts=2), source="d3rlpy_hdf5")
    assert dataset.spec.obs_shapes == {"0": [1], "1": [1]}
    assert (dataset.obs["1"] - dataset.obs["0"]).max() == 1.0


def test_d3rlpy_2_with_a_missing_part(tmp_path: Path) -> None:
    with h5py.File(file := d3rlpy(tmp_path / "log.h5"), "a") as stored:
        del stored["rewards_4"]
    assert "episode 4 lacks observations, actions, rewards or" in refusal(tmp_path, file, source="d3rlpy_hdf5")
