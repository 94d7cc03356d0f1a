"""LeRobot datasets in the layouts of versions 2.1 and 3.0."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_examples import ingest_file, refusal_of_file

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import lerobot_files

LENGTHS = (5, 3, 7, 4, 6)
MOTORS = {"motors": ["shoulder", "elbow"]}


def frames(e: int, n: int) -> dict[str, Any]:
    """One episode: state (100 e + t, e), action a thousandth of the first one, reward the same as it."""
    clock = 100.0 * e + np.arange(n, dtype="f4")
    return {
        "observation.state": pa.array(np.stack([clock, np.full(n, e)], 1).tolist(), pa.list_(pa.float32(), 2)),
        "action": pa.array((clock[:, None] / 1000).tolist(), pa.list_(pa.float32())),
        "timestamp": (np.arange(n) / 20).astype("f4"),
        "frame_index": np.arange(n),
        "episode_index": np.full(n, e),
        "index": sum(LENGTHS[:e]) + np.arange(n),
        "task_index": np.zeros(n, int),
        "next.reward": clock,
        "next.done": np.arange(n) == n - 1,
        "next.success": (np.arange(n) == n - 1) & (e % 2 == 0),
    }


def info(version: str, features: dict[str, Any]) -> dict[str, Any]:
    video = {"dtype": "video", "shape": [96, 96, 3], "names": ["height", "width", "channel"]}
    state = {"observation.state": {"dtype": "float32", "shape": [2], "names": MOTORS}}
    action = {"action": {"dtype": "float32", "shape": [1], "names": ["grip"]}}
    totals = {"total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS)}
    return {
        "codebase_version": version,
        "fps": 20,
        **totals,
        "features": {**state, **action, "observation.images.top": video, **features},
    }


def write(root: Path, version: str = "v3.0", dropped: tuple[str, ...] = (), **columns: Any) -> Path:
    """A dataset: one file an episode in version 2, two files with several episodes each in version 3.

    ``columns`` are functions of number and length of an episode, ``dropped`` are names of columns to leave out.
    """
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info(version, {})))
    tables = []
    for e, n in enumerate(LENGTHS):
        arrays = {name: array for name, array in frames(e, n).items() if name not in dropped}
        tables.append(pa.table({**arrays, **{name: make(e, n) for name, make in columns.items()}}))
    if version.startswith("v2"):
        for e, table in enumerate(tables):
            pq.write_table(table, root / f"data/chunk-000/episode_{e:06d}.parquet")
        return root
    for file, part in enumerate((tables[:3], tables[3:])):
        pq.write_table(pa.concat_tables(part), root / f"data/chunk-000/file-{file:03d}.parquet")
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    numbers = {"episode_index": np.arange(len(LENGTHS)), "length": np.array(LENGTHS)}
    pq.write_table(pa.table(numbers), root / "meta/episodes/chunk-000/file-000.parquet")
    return root


ingest, refusal = (partial(function, source="lerobot") for function in (ingest_file, refusal_of_file))


def assert_steps(dataset: PreparedDataset, lengths: tuple[int, ...] = LENGTHS) -> None:
    expected = [100.0 * e + t for e, n in enumerate(lengths) for t in range(n)]
    batch = dataset.transitions("all")
    assert batch["obs"][:, 0].tolist() == expected
    assert batch["reward"].tolist() == expected
    low, high = np.array(dataset.spec.action_low), np.array(dataset.spec.action_high)
    action = low + (np.asarray(batch["action"]) + 1) / 2 * (high - low)
    assert np.allclose(action[:, 0] * 1000, expected, atol=0.1)


@pytest.mark.parametrize("rows", [1, 4, 1 << 14])
@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_both_layouts(version: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_files, "ROWS", rows)
    dataset = ingest(tmp_path, write(tmp_path / "log", version))
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert_steps(dataset)
    assert (dataset.spec.obs_names, dataset.spec.action_names) == ({"state": ["shoulder", "elbow"]}, ["grip"])
    assert (dataset.spec.terminals, dataset.spec.dropped) == (5, 0)
    warnings = dataset.spec.warnings
    assert any("not read: `observation.images.top` (images and videos never are)" in w for w in warnings)
    assert any("all 5 episodes end with `next.done`, which recorders also set" in w for w in warnings)


def test_success_is_the_true_end(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, write(tmp_path / "log"), terminal_key="next.success", max_dropped_return=1.0)
    assert dataset.episode_lengths("all").tolist() == [n - e % 2 for e, n in enumerate(LENGTHS)]
    assert (dataset.spec.terminals, dataset.spec.dropped) == (3, 2)


def test_time_limits_are_no_true_ends(tmp_path: Path) -> None:
    truncated = {"next.truncated": lambda e, n: (np.arange(n) == n - 1) & (e == 1)}
    dataset = ingest(tmp_path, write(tmp_path / "log", **truncated), max_dropped_return=1.0)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (4, 1)


def test_without_marks_last_steps_are_dropped(tmp_path: Path) -> None:
    root = write(tmp_path / "log", dropped=("next.done",))
    dataset = ingest(tmp_path, root, max_dropped_return=1.0)
    assert_steps(dataset, tuple(n - 1 for n in LENGTHS))
    assert (dataset.spec.terminals, dataset.spec.dropped) == (0, 5)


def test_without_a_reward(tmp_path: Path) -> None:
    root = write(tmp_path / "log", dropped=("next.reward",))
    message = refusal(tmp_path, root)
    assert "no feature `next.reward` of numbers" in message
    assert "set `dataset.reward_key` to one, or to null with a function in `dataset.transform`" in message
    dataset = ingest(tmp_path, root, reward_key="next.success")
    assert dataset.transitions("all")["reward"].sum() == 3
    assert "reward_key is null, so the log has no reward: write a function" in refusal(tmp_path, root, reward_key=None)


def test_several_vectors_become_one(tmp_path: Path) -> None:
    def image(e: int, n: int) -> pa.Array:
        return pa.array([{"bytes": b"", "path": ""}] * n)

    extra = {"observation.environment_state": lambda e, n: np.full(n, e, "f4"), "observation.image": image}
    dataset = ingest(tmp_path, write(tmp_path / "log", **extra))
    assert dataset.spec.obs_names == {"state": ["state.shoulder", "state.elbow", "environment_state"]}
    assert any("not read: `observation.image`, `observation.images.top`" in w for w in dataset.spec.warnings)
    dataset = ingest(tmp_path, tmp_path / "log", obs_keys=["observation.environment_state"])
    assert dataset.spec.obs_names == {"state": ["environment_state"]}


def test_missing_frames_and_files_are_counted(tmp_path: Path) -> None:
    root = write(tmp_path / "log", "v2.1")
    file = root / "data/chunk-000/episode_000002.parquet"
    pq.write_table(pq.read_table(file).take([0, 1, 4, 5, 6]), file)
    (root / "data/chunk-000/episode_000004.parquet").unlink()
    warnings = ingest(tmp_path, root).spec.warnings
    assert any("after 1 of 17 frames the next ones are missing" in warning for warning in warnings)
    assert any("info.json declares total_episodes 5, but the files hold 4" in warning for warning in warnings)


def test_an_episode_in_two_places_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "log", "v2.1")
    table = pq.read_table(root / "data/chunk-000/episode_000000.parquet")
    pq.write_table(table, root / "data/chunk-000/episode_000005.parquet")
    assert "episode 0 continues after other episodes; sort the frames" in refusal(tmp_path, root)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("no info", "no meta/info.json; name the folder of a LeRobot dataset"),
        ("no json", "info.json: not the metadata of a LeRobot dataset"),
        ("version 1", "version v1.6 is not supported; convert it to v2.1 or v3.0"),
        ("no data", "no Parquet files below `data`; fetch the whole dataset"),
        ("pointer", "file-000.parquet: truncated, corrupt or not Parquet"),
        ("cut", "file-001.parquet: truncated, corrupt or not Parquet"),
    ],
)
def test_damaged_datasets(damage: str, expected: str, tmp_path: Path) -> None:
    root = write(tmp_path / "log")
    files = sorted((root / "data/chunk-000").iterdir())
    if damage == "no info":
        (root / "meta/info.json").unlink()
    elif damage == "no json":
        (root / "meta/info.json").write_text("{")
    elif damage == "version 1":
        (root / "meta/info.json").write_text('{"codebase_version": "v1.6"}')
    elif damage == "no data":
        for file in files:
            file.unlink()
    elif damage == "pointer":
        files[0].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
        assert "it is a pointer of Git LFS: run `git lfs pull`" in refusal(tmp_path, root)
    else:
        files[1].write_bytes(files[1].read_bytes()[:-20])
    assert expected in refusal(tmp_path, root)


def test_a_folder_of_datasets_is_refused_with_their_names(tmp_path: Path) -> None:
    root = write(tmp_path / "log")
    assert f"no meta/info.json (did you mean `{root}`?); name the folder" in refusal(tmp_path, tmp_path)


def test_lists_of_different_lengths_are_refused(tmp_path: Path) -> None:
    ragged = {"observation.contacts": lambda e, n: pa.array([[1.0] * (1 + t % 2) for t in range(n)])}
    assert "lists of `observation.contacts` differ in length" in refusal(tmp_path, write(tmp_path / "log", **ragged))


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("action", ["a"] * 19, "`action` holds string, expected numbers as in file-000.parquet; repair the file"),
        ("next.reward", [[1.0, 2.0]] * 19, "`next.reward` holds float64 of shape [4, 2], expected one number"),
        ("episode_index", [None, *[4] * 18], "`episode_index` is empty in some rows; repair the file"),
        ("next.done", None, "no column `next.done`, expected numbers as in file-000.parquet"),
    ],
)
def test_files_of_another_layout_are_named(name: str, cells: Any, expected: str, tmp_path: Path) -> None:
    root = write(tmp_path / "log")
    file = root / "data/chunk-000/file-001.parquet"
    table = pq.read_table(file)
    index = table.column_names.index(name)
    if cells is None:
        table = table.drop_columns([name])
    else:
        table = table.set_column(index, name, pa.array(cells[: table.num_rows]))
    pq.write_table(table, file)
    assert expected in refusal(tmp_path, root)


def test_wrong_names(tmp_path: Path) -> None:
    root = write(tmp_path / "log")
    assert "feature `observation.images.top` is no vector" in refusal(
        tmp_path, root, obs_keys=["observation.images.top"]
    )
    assert "did you mean `observation.state`?" in refusal(tmp_path, root, obs_keys=["observation.stat"])
    assert "no feature `actions` of numbers (did you mean `action`?)" in refusal(tmp_path, root, action_key="actions")
    assert "no feature `next.end` of numbers" in refusal(tmp_path, root, terminal_key="next.end")
