"""Flat logs (npz and HDF5): episode boundaries and the final observation."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from data_examples import LENGTHS, counting_columns, npz_block

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES, flat_ends, stored
from pipeline.ingest.sources.npz import Member, read_npz
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

WITHOUT_NEXT = {"next_obs_key": None}


def ingest(block: dict[str, Any], folder: Path) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def clocks(dataset: PreparedDataset) -> list[float]:
    return dataset.flat_obs(dataset.steps("all"))[:, 0].tolist()


def test_next_observations_give_the_final_observation(tmp_path: Path) -> None:
    dataset = ingest(npz_block(tmp_path / "log.npz", counting_columns()), tmp_path / "d")
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    batch = dataset.transitions("all")
    assert (batch["next_obs"][:, 0] - batch["obs"][:, 0]).tolist() == [1.0] * sum(LENGTHS)
    assert dataset.spec.dropped == 0
    assert dataset.spec.terminals == 3


def assert_true_ends_are_kept(dataset: PreparedDataset) -> None:
    """Even episodes of the counting log end truly: they keep their last step, the others lose it."""
    steps = [n - e % 2 for e, n in enumerate(LENGTHS)]
    assert clocks(dataset) == [100.0 * e + t for e, n in enumerate(steps) for t in range(n)]
    assert dataset.episode_lengths("all").tolist() == [n for n in steps if n]
    assert dataset.transitions("all")["reward"].tolist() == clocks(dataset)
    batch = dataset.transitions("all")
    moved = (batch["next_obs"][:, 0] - batch["obs"][:, 0]).tolist()
    assert moved == [1.0 - (e % 2 == 0 and t == n - 1) for e, n in enumerate(steps) for t in range(n)]
    assert (dataset.spec.dropped, dataset.spec.terminals) == (2, 3)
    assert any("2 steps at the end of an episode" in w and "dropped" in w for w in dataset.spec.warnings)
    assert any("3 steps are true ends without a next observation: kept" in w for w in dataset.spec.warnings)


def test_without_next_observations_true_ends_are_kept_and_others_dropped(tmp_path: Path) -> None:
    block = npz_block(tmp_path / "log.npz", counting_columns(), **WITHOUT_NEXT)
    assert_true_ends_are_kept(ingest(block, tmp_path / "d"))


def test_a_log_whose_reward_is_in_the_dropped_steps_is_refused(tmp_path: Path) -> None:
    columns = counting_columns()
    columns["reward"] = columns["truncated"]
    with pytest.raises(ValueError, match=r"100 % of the summed absolute reward; name next .*`dataset.next_obs_key`"):
        ingest(npz_block(tmp_path / "log.npz", columns, **WITHOUT_NEXT), tmp_path / "d")
    block = npz_block(tmp_path / "log.npz", columns, **WITHOUT_NEXT, max_dropped_return=1.0)
    assert ingest(block, tmp_path / "d").spec.dropped == 2


def test_terminal_column_that_includes_time_limits(tmp_path: Path) -> None:
    columns = counting_columns()
    columns["done"] = np.maximum(columns["done"], columns["truncated"])
    kept = ingest(npz_block(tmp_path / "log.npz", columns), tmp_path / "kept")
    assert kept.spec.terminals == 5
    assert any("set `dataset.terminal_includes_timeouts: true`" in w for w in kept.spec.warnings)
    dataset = ingest(
        npz_block(tmp_path / "log.npz", columns, terminal_includes_timeouts=True), tmp_path / "with_option"
    )
    assert dataset.spec.terminals == 3
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)


def test_unmarked_break_splits_the_episode(tmp_path: Path) -> None:
    columns = counting_columns()
    columns["truncated"][:] = 0
    dataset = ingest(npz_block(tmp_path / "log.npz", columns), tmp_path / "d")
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert any(
        "2 steps have no end mark, but their next observation is not that of the next row" in w
        for w in dataset.spec.warnings
    )


def test_cut_tail_is_an_episode_without_a_terminal(tmp_path: Path) -> None:
    columns = {name: column[:-2] for name, column in counting_columns().items()}
    dataset = ingest(npz_block(tmp_path / "log.npz", columns), tmp_path / "d")
    assert dataset.episode_lengths("all").tolist() == [4, 1, 6, 3, 3]
    assert dataset.spec.terminals == 2
    assert any("the last 3 steps have no end mark" in w for w in dataset.spec.warnings)


def test_other_file_is_the_held_out_split(tmp_path: Path) -> None:
    held_out = npz_block(tmp_path / "val.npz", counting_columns((2, 2)))["path"]
    block = npz_block(tmp_path / "train.npz", counting_columns())
    dataset = ingest({**block, "held_out_path": held_out}, tmp_path / "d")
    assert dataset.episode_lengths("train").tolist() == list(LENGTHS)
    assert dataset.episode_lengths("held_out").tolist() == [2, 2]


def test_hdf5_with_mapped_names_equals_npz(tmp_path: Path) -> None:
    columns, file = counting_columns(), tmp_path / "log.hdf5"
    names = {"next_observations": "next_obs", "observations": "obs", "actions": "action", "rew": "reward"}
    names |= {"terminals": "done", "timeouts": "truncated"}
    with h5py.File(file, "w") as stored:
        for name, column in names.items():
            stored[name] = columns[column]
    block = {"source": "d4rl_hdf5", "path": str(file), "held_out_path": str(file), "reward_key": "rew"}
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    from_hdf5 = ingest({**block, **bounds}, tmp_path / "hdf5")
    from_npz = ingest(npz_block(tmp_path / "log.npz", columns), tmp_path / "npz")
    assert from_hdf5.spec.digest == from_npz.spec.digest


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_hdf5_read_in_blocks_gives_the_same(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = d3rlpy_block(tmp_path / "log.h5") | {"source": "d4rl_hdf5", "next_obs_key": "next"}
    block["timeout_key"] = "episode_terminals"
    columns = counting_columns()
    with h5py.File(tmp_path / "log.h5", "a") as file:
        file["next"] = columns["next_obs"]
    monkeypatch.setattr(stored, "BLOCK", rows * columns["obs"][0].nbytes)
    expected = ingest(npz_block(tmp_path / "log.npz", columns), tmp_path / "npz")
    assert ingest(block, tmp_path / "d").spec.digest == expected.spec.digest


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_npz_is_read_in_blocks(write: Any, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two times, once for breaks in the states and once to store them; the first has no use for two of the rows."""
    columns, reads = counting_columns(), list[tuple[str, int]]()
    expected = ingest(npz_block(tmp_path / "whole.npz", columns), tmp_path / "whole")
    block = npz_block(tmp_path / "log.npz", columns)
    write(tmp_path / "log.npz", **columns)
    read = Member.read

    def counted(member: Member, start: int, stop: int) -> np.ndarray:
        reads.append((member.name, stop - start))
        return read(member, start, stop)

    monkeypatch.setattr(Member, "read", counted)
    monkeypatch.setattr(stored, "BLOCK", rows * columns["obs"][0].nbytes)
    monkeypatch.setattr(flat_ends, "CHUNK", rows)
    assert ingest(block, tmp_path / "d").spec.digest == expected.spec.digest
    steps, largest = sum(LENGTHS), max(rows, *LENGTHS)
    assert max(count for _, count in reads) <= largest
    assert steps < sum(count for name, count in reads if name == "obs") <= 2 * steps
    assert {name for name, _ in reads} == {"obs", "next_obs"}  # columns of one number a row are read whole


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_any_rows_of_an_npz_are_those_of_numpy(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "plain": rng.normal(size=(40, 3)),
        "big_endian": rng.integers(0, 9, (40, 2)).astype(">i2"),
        "by_column": np.asfortranarray(rng.normal(size=(40, 3))),
        "flat": rng.normal(size=40),
        "flags": rng.normal(size=(40, 2)) > 0,
    }
    write(tmp_path / "log.npz", **arrays)
    monkeypatch.setattr(stored, "BLOCK", 100)
    columns = read_npz(tmp_path / "log.npz", {*arrays}).arrays
    assert [isinstance(columns[name], np.ndarray) for name in arrays] == [False, False, True, True, False]
    with np.load(tmp_path / "log.npz") as whole:
        for name, column in columns.items():
            assert (column.shape, column.dtype) == (arrays[name].shape, arrays[name].dtype)
            for start, stop in rng.integers(0, 41, (20, 2)):  # forwards and back, empty ones too
                assert np.array_equal(column[start:stop], whole[name][start:stop])


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz_damaged_within_is_refused(write: Any, tmp_path: Path) -> None:
    columns = counting_columns()
    noise = np.random.default_rng(0).normal(size=(len(columns["obs"]), 2000)).astype(np.float32)
    block = npz_block(tmp_path / "log.npz", columns, next_obs_key=None)
    write(tmp_path / "log.npz", **{**columns, "obs": noise})
    content = bytearray((tmp_path / "log.npz").read_bytes())
    content[50_000:50_100] = bytes(100)
    (tmp_path / "log.npz").write_bytes(content)
    with pytest.raises(ValueError, match="truncated, corrupt or not npz"):
        ingest(block, tmp_path / "d")


def test_hdf5_damaged_within_is_refused(tmp_path: Path) -> None:
    block = d3rlpy_block(tmp_path / "log.h5")
    with h5py.File(tmp_path / "log.h5", "a") as file:
        del file["observations"]
        noise = np.random.default_rng(0).normal(size=(19, 2000))
        stored = file.create_dataset("observations", data=noise, chunks=(2, 2000), compression="gzip")
        at = stored.id.get_chunk_info(5).byte_offset
    content = bytearray((tmp_path / "log.h5").read_bytes())
    content[at : at + 100] = bytes(100)
    (tmp_path / "log.h5").write_bytes(content)
    with pytest.raises(ValueError, match="truncated, corrupt or not HDF5"):
        ingest(block, tmp_path / "d")


def test_reference_scores_prefer_params_then_the_table(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    columns = counting_columns()
    columns["obs"], columns["next_obs"] = (np.tile(columns[k][:, :1], 11) for k in ("obs", "next_obs"))
    columns["action"] = np.tile(columns["action"], 3)
    bounds = {"action_low": None, "action_high": None, "env_id": "Hopper-v5"}
    block = npz_block(tmp_path / "log.npz", columns, **bounds)
    table = ingest(block, tmp_path / "table").spec
    assert (table.ref_min_score, table.ref_source) == (-20.272305, "D4RL table")
    assert (table.action_bounds, table.max_episode_steps) == ("declared", 1000)
    own = ingest({**block, "ref_min_score": 1.0, "ref_max_score": 2.0}, tmp_path / "own").spec
    assert (own.ref_min_score, own.ref_max_score, own.ref_source) == (1.0, 2.0, "params.yaml")


def d3rlpy_block(file: Path, **changed: Any) -> dict[str, Any]:
    """The counting log as d3rlpy dumps it: every end in ``episode_terminals``, true ones in ``terminals`` too."""
    columns = counting_columns()
    ends = np.maximum(columns["done"], columns["truncated"])
    names = {"observations": columns["obs"], "actions": columns["action"], "rewards": columns["reward"]}
    marks = {"terminals": columns["done"], "episode_terminals": ends, "discrete_action": False, "version": "1.0"}
    with h5py.File(file, "w") as stored:
        for name, value in {**names, **marks, **changed}.items():
            stored[name] = value
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    return {"source": "d3rlpy_hdf5", "path": str(file), "held_out_path": str(file), **bounds}


def test_d3rlpy_marks_true_ends_twice(tmp_path: Path) -> None:
    dataset = ingest(d3rlpy_block(tmp_path / "log.h5"), tmp_path / "d")
    assert_true_ends_are_kept(dataset)
    assert not any("marked both" in warning for warning in dataset.spec.warnings)


def test_d3rlpy_says_that_actions_are_discrete(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not an integer, so not discrete; set `dataset\.action_kind"):
        ingest(d3rlpy_block(tmp_path / "log.h5", discrete_action=True), tmp_path / "d")


def test_logs_without_true_ends(tmp_path: Path) -> None:
    columns = counting_columns()
    columns["truncated"] = np.maximum(columns.pop("done"), columns["truncated"])
    dataset = ingest(npz_block(tmp_path / "log.npz", columns, terminal_key=None), tmp_path / "d")
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert dataset.spec.terminals == 0
