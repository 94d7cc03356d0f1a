"""Arrays as loggers leave them: one column for all ends, a vector of environments, padded episodes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_examples import LENGTHS, counting_columns, npz_block, of_reading

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES, flat_axes, stored
from pipeline.ingest.transform import apply_transform
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose

ENDS = np.cumsum(LENGTHS) - 1
NO_LIMIT = {"max_dropped_return": 1.0}


def ingest(folder: Path, columns: dict[str, np.ndarray], **options: Any) -> PreparedDataset:
    block = npz_block(folder / "log.npz", columns, **options)
    source, config = choose(SOURCES, block, "dataset", key="source")
    logged = apply_transform(source(config).read(), config.transform)
    return write_dataset(folder / "d", logged, "log", config.held_out_fraction, config.split_seed)


def refusal(folder: Path, columns: dict[str, np.ndarray], **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        ingest(folder, columns, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "log.npz"))
    return message


def ends_in_one_column() -> dict[str, np.ndarray]:
    """The counting log without next observations; ``dones`` marks true ends and time limits."""
    columns = counting_columns()
    del columns["next_obs"]
    columns["dones"] = np.maximum(columns.pop("done"), columns.pop("truncated"))
    return columns


def steps(dataset: PreparedDataset) -> list[list[float]]:
    """Observation, action and reward of every step."""
    batch = dataset.transitions("all")
    action = np.round(batch["action"] * 1000, 2)
    return np.column_stack([batch["obs"], action, batch["reward"]]).tolist()


def counting_steps(lengths: tuple[int, ...]) -> list[list[float]]:
    return [[100.0 * e + t, e, 100.0 * e + t, 100.0 * e + t] for e, n in enumerate(lengths) for t in range(n)]


def test_one_column_of_ends_is_refused_with_both_readings(tmp_path: Path) -> None:
    message = refusal(tmp_path, ends_in_one_column())
    assert "no column `done`, but `dones`; set `dataset.terminal_key: dones` with `dataset.timeout_key: null`" in (
        message
    )
    assert "or `dataset.terminal_key: null` with `dataset.timeout_key: dones` if it marks time limits too" in message


def test_one_column_of_ends_as_true_ends(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, ends_in_one_column(), terminal_key="dones", timeout_key=None)
    assert steps(dataset) == counting_steps(LENGTHS)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (5, 0)


def test_one_column_of_ends_as_time_limits(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, ends_in_one_column(), terminal_key=None, timeout_key="dones", **NO_LIMIT)
    assert dataset.episode_lengths("all").tolist() == [n - 1 for n in LENGTHS if n > 1]
    assert (dataset.spec.terminals, dataset.spec.dropped) == (0, 5)


def test_one_column_cannot_be_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="terminal_key and timeout_key both name `dones`; set `terminal_key: null` if"):
        ingest(tmp_path, ends_in_one_column(), terminal_key="dones", timeout_key="dones")


def test_misspelt_optional_columns_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, counting_columns(), timeout_key="truncate")
    assert "no column `truncate` (did you mean `truncated`?); set `dataset.timeout_key`" in message
    message = refusal(tmp_path, counting_columns(), next_obs_key="next")
    assert "no column `next`" in message


def test_a_transform_may_define_the_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {name: column for name, column in counting_columns().items() if name != "reward"}
    with pytest.raises(ValueError, match="reward_key is null, so the log has no reward: write a function"):
        ingest(tmp_path, columns, reward_key=None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/transforms").mkdir(parents=True)
    (tmp_path / "data/transforms/mine.py").write_text("def clock(e): return {'reward': e['obs']['state'][:-1, 0]}")
    dataset = ingest(tmp_path, columns, reward_key=None, transform="mine:clock")
    assert steps(dataset) == counting_steps(LENGTHS)
    (tmp_path / "data/transforms/mine.py").write_text("def clock(e): return {}")
    with pytest.raises(ValueError, match=r"through `mine:clock`: episode 0, reward\[0\]: nan"):
        ingest(tmp_path, columns, reward_key=None, transform="mine:clock")


def test_no_column_of_ends(tmp_path: Path) -> None:
    columns = ends_in_one_column()
    message = refusal(tmp_path, columns, terminal_key=None, timeout_key=None)
    assert "no column says where episodes end; set `dataset.episode_key`" in message


def test_episode_numbers_are_ends(tmp_path: Path) -> None:
    columns = {**ends_in_one_column(), "run": np.repeat([7, 3, 9, 1, 4], LENGTHS)}
    del columns["dones"]
    options = {"terminal_key": None, "episode_key": "run", **NO_LIMIT}
    dataset = ingest(tmp_path, columns, **options)
    assert dataset.episode_lengths("all").tolist() == [n - 1 for n in LENGTHS if n > 1]
    columns["run"][-1] = 7
    message = refusal(tmp_path, columns, **options)
    assert "episode 7 of `run` continues after other episodes; sort the rows by episode" in message


def test_episode_names_are_ends(tmp_path: Path) -> None:
    columns = {**counting_columns(), "run": np.repeat(["a", "b", "c", "d", "e"], LENGTHS)}
    columns["truncated"][:] = 0
    dataset = ingest(tmp_path, columns, episode_key="run")
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert of_reading(dataset) == []


@pytest.mark.parametrize("rows", [1, 100])
def test_one_environment_of_a_vector(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", rows * 8)
    columns = {name: column[:, None] for name, column in counting_columns().items()}
    dataset = ingest(tmp_path, columns)
    assert steps(dataset) == counting_steps(LENGTHS)
    assert dataset.spec.terminals == 3
    [warning] = of_reading(dataset)
    assert "`obs` [19, 1, 2], " in warning
    assert "the second axis, of length 1, is removed" in warning


SECOND = (2, 6, 7, 4)


def environments() -> dict[str, np.ndarray]:
    """As stable-baselines3's ReplayBuffer of two environments: the second one has 1000 more in all observations."""
    one, two = counting_columns(LENGTHS), counting_columns(SECOND)
    for key in ("obs", "next_obs"):
        two[key] = two[key] + 1000
    names = {"obs": "observations", "next_obs": "next_observations", "action": "actions", "reward": "rewards"}
    columns = {names.get(key, key): np.stack([one[key], two[key]], axis=1) for key in one}
    columns["dones"] = np.maximum(columns.pop("done"), columns["truncated"])
    columns["timeouts"] = columns.pop("truncated")
    return columns


SB3 = {
    "obs_key": "observations",
    "next_obs_key": "next_observations",
    "action_key": "actions",
    "reward_key": "rewards",
    "terminal_key": "dones",
    "timeout_key": "timeouts",
    "terminal_includes_timeouts": True,
}


def test_parallel_environments_follow_each_other(tmp_path: Path) -> None:
    dataset = ingest(tmp_path, environments(), **SB3)
    assert dataset.episode_lengths("all").tolist() == [*LENGTHS, *SECOND]
    first, second = steps(dataset)[:19], steps(dataset)[19:]
    assert first == counting_steps(LENGTHS)
    assert [[o - 1000, e - 1000, a, r] for o, e, a, r in second] == counting_steps(SECOND)
    assert dataset.spec.terminals == 5
    assert any("`observations` [19, 2, 2] is read as steps of 2 environments" in w for w in dataset.spec.warnings)


def test_the_last_steps_of_environments_may_lack_a_mark(tmp_path: Path) -> None:
    columns = {name: column[:-2] for name, column in environments().items()}
    dataset = ingest(tmp_path, columns, **SB3)
    assert dataset.episode_lengths("all").tolist() == [4, 1, 6, 3, 3, 2, 6, 7, 2]
    assert any("the last 5 steps of 2 environments have no end mark" in w for w in dataset.spec.warnings)


def test_environments_with_a_mask(tmp_path: Path) -> None:
    columns = {**environments(), "mask": np.ones((19, 2), bool)}
    columns["mask"][12:, 0] = False
    dataset = ingest(tmp_path, columns, **SB3, mask_key="mask", leading_axes="steps_environments")
    assert steps(dataset)[:12] == counting_steps(LENGTHS)[:12]
    assert dataset.episode_lengths("all").tolist() == [4, 1, 6, 1, *SECOND]


def test_unclear_axes_are_refused_and_can_be_named(tmp_path: Path) -> None:
    columns = {name: column[:-2] for name, column in environments().items() if name != "next_observations"}
    options = {**SB3, "next_obs_key": None, **NO_LIMIT}
    message = refusal(tmp_path, columns, **options)
    assert "set `dataset.leading_axes` to episodes_steps or steps_environments" in message
    dataset = ingest(tmp_path, columns, **options, leading_axes="steps_environments")
    assert (dataset.spec.terminals, dataset.spec.dropped) == (4, 5)


def padded(width: int = 8, fill: float = 0.0) -> dict[str, np.ndarray]:
    """The counting log as [E, T, ...] without next observations, ``fill`` after the end of each episode."""
    columns, starts = counting_columns(), np.r_[0, ENDS[:-1] + 1]
    arrays = {}
    for name in ("obs", "action", "reward", "done"):
        column = columns[name]
        arrays[name] = np.full((len(LENGTHS), width, *column.shape[1:]), 0.0 if name == "done" else fill)
        for e, (start, n) in enumerate(zip(starts, LENGTHS, strict=True)):
            arrays[name][e, :n] = column[start : start + n]
    arrays["mask"] = np.arange(width) < np.array(LENGTHS)[:, None]
    return arrays


PADDED = {"next_obs_key": None, **NO_LIMIT}
KEPT = [4, 6, 2, 5]  # even episodes end truly


@pytest.mark.parametrize("rows", [1, 100])
@pytest.mark.parametrize("fill", [0.0, np.nan, 7.0])
def test_padded_episodes_with_a_mask(fill: float, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", rows * 16)
    dataset = ingest(tmp_path, padded(fill=fill), mask_key="mask", **PADDED)
    assert dataset.episode_lengths("all").tolist() == KEPT
    assert steps(dataset) == counting_steps((4, 0, 6, 2, 5))
    assert dataset.spec.terminals == 3
    expected = "`obs` [5, 8, 2] is read as 5 episodes of up to 8 steps; 21 padded rows (`mask` is 0) left out"
    assert any(expected in warning for warning in dataset.spec.warnings)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_empty_rows_at_the_end_of_episodes_are_padding(fill: float, tmp_path: Path) -> None:
    dataset = ingest(tmp_path, padded(fill=fill), leading_axes="episodes_steps", **PADDED)
    assert steps(dataset) == counting_steps((4, 0, 6, 2, 5))


def test_padding_that_repeats_the_end_mark(tmp_path: Path) -> None:
    columns = padded(fill=7.0)
    columns["done"] = np.arange(8) >= np.array(LENGTHS)[:, None] - 1
    del columns["mask"]
    dataset = ingest(tmp_path, columns, **PADDED)
    assert dataset.episode_lengths("all").tolist() == list(LENGTHS)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (5, 0)


def test_whole_episodes_with_one_more_observation(tmp_path: Path) -> None:
    episodes, width = 6, 5
    clock = 100.0 * np.arange(episodes)[:, None] + np.arange(width + 1)
    columns = {"obs": clock[:, :, None], "action": np.zeros((episodes, width, 1)), "reward": clock[:, 1:]}
    dataset = ingest(tmp_path, columns, terminal_key=None, next_obs_key=None, timeout_key=None)
    batch = dataset.transitions("all")
    assert batch["obs"][:, 0].tolist() == clock[:, :-1].ravel().tolist()
    assert batch["next_obs"][:, 0].tolist() == clock[:, 1:].ravel().tolist()
    assert dataset.spec.dropped == 0


def test_a_mask_of_rows(tmp_path: Path) -> None:
    """A ring buffer that is not full: its tail was never written."""
    columns = {name: np.concatenate([c, np.zeros((5, *c.shape[1:]))]) for name, c in counting_columns().items()}
    columns["written"] = np.arange(24) < 19
    dataset = ingest(tmp_path, columns, mask_key="written")
    assert steps(dataset) == counting_steps(LENGTHS)
    assert any("5 rows where `written` is 0: left out" in warning for warning in dataset.spec.warnings)


@pytest.mark.parametrize("axis", [False, True])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_rows_that_were_never_written_are_left_out(
    chunk: int, axis: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A buffer that is not full, without a mask."""
    monkeypatch.setattr(flat_axes, "CHUNK", chunk)
    columns = {name: np.concatenate([c, np.zeros((5, *c.shape[1:]))]) for name, c in counting_columns().items()}
    dataset = ingest(tmp_path, {name: c[:, None] for name, c in columns.items()} if axis else columns)
    assert steps(dataset) == counting_steps(LENGTHS)
    assert any("the last 5 rows are zero in all columns" in warning for warning in dataset.spec.warnings)


def test_zeros_in_some_columns_are_kept(tmp_path: Path) -> None:
    columns = counting_columns()
    columns["reward"][-4:], columns["action"][-4:], columns["done"][-4:] = 0, 0, 0
    assert len(ingest(tmp_path, columns).steps("all")) == 19


def folder_of_files(folder: Path) -> Path:
    """One file an episode, `episode_2` before `episode_10`, in two folders."""
    lengths = (*LENGTHS, 2, 3, 4, 2, 3, 4)
    columns, stops = counting_columns(lengths), np.cumsum(lengths)
    for e, (start, stop) in enumerate(zip(np.r_[0, stops[:-1]], stops, strict=True)):
        part = folder / ("a" if e < 11 else "b")
        part.mkdir(parents=True, exist_ok=True)
        np.savez(part / f"episode_{e}.npz", **{name: column[start:stop] for name, column in columns.items()})
    return folder


def test_one_file_an_episode(tmp_path: Path) -> None:
    folder = str(folder_of_files(tmp_path / "logs"))
    block = {"source": "npz", "path": folder, "held_out_path": folder, "timeout_key": None, "next_obs_key": None}
    source, config = choose(SOURCES, {**block, "max_dropped_return": 1.0}, "dataset", key="source")
    dataset = write_dataset(tmp_path / "d", source(config).read(), "log", 0.2, 0)
    kept = [n - e % 2 for e, n in enumerate((*LENGTHS, 2, 3, 4, 2, 3, 4))]
    assert dataset.flat_obs(dataset.steps("all"))[:, 0].tolist() == [
        100.0 * e + t for e, n in enumerate(kept) for t in range(n)
    ]
    assert (dataset.spec.terminals, dataset.spec.dropped) == (6, 5)
    empty = tmp_path / "empty"
    empty.mkdir()
    _, config = choose(SOURCES, {**block, "path": str(empty)}, "dataset", key="source")
    with pytest.raises(ValueError, match=r"a folder without \.npz, \.npy; name a log file or another folder"):
        source(config).read()


def test_one_file_a_column(tmp_path: Path) -> None:
    columns, folder = counting_columns(), tmp_path / "logs"
    folder.mkdir()
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
    block = {"source": "npz", "path": str(folder), "held_out_path": str(folder)}
    source, config = choose(SOURCES, block, "dataset", key="source")
    dataset = write_dataset(tmp_path / "d", source(config).read(), "log", 0.2, 0)
    stored = ingest(tmp_path, columns, action_low=None, action_high=None)
    assert dataset.spec.digest == stored.spec.digest
    np.save(folder / "obs.npy", np.array([{}] * 19, object))
    with pytest.raises(ValueError, match=r"obs\.npy: `obs` hold pickled Python objects"):
        source(config).read()


@pytest.mark.parametrize(("shift", "where"), [(-1, "the same row"), (1, "two rows later"), (-2, "the row before")])
def test_next_observations_in_the_wrong_row_are_refused(shift: int, where: str, tmp_path: Path) -> None:
    columns = counting_columns((10, 20, 30))
    columns["next_obs"] = np.roll(columns["next_obs"], -shift, axis=0)
    message = refusal(tmp_path, columns)
    assert f"`next_obs` holds the observation of {where}, not of the next one; repair it, or set" in message


def test_shuffled_transitions_are_episodes_of_one_step(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(60)
    columns = {name: column[order] for name, column in counting_columns((10, 20, 30)).items()}
    dataset = ingest(tmp_path, columns)
    assert len(dataset.steps("all")) == 60
    assert any("their next observation is not that of the next row" in w for w in dataset.spec.warnings)


def test_a_single_value_is_no_column(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**counting_columns(), "reward": np.array(3.0)})
    assert "`reward` is a single value, expected one per step; set `dataset.reward_key` to another column" in message


@pytest.mark.parametrize("key", ["terminal_key", "episode_key", "mask_key"])
def test_several_values_per_step_are_no_mark(key: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, {**counting_columns(), "wide": np.zeros((19, 3))}, **{key: "wide"})
    assert f"`wide` has shape [19, 3], expected one value per step; set `dataset.{key}` to another column" in message


def test_next_observations_of_padded_episodes_have_their_shape(tmp_path: Path) -> None:
    columns = {**padded(), "next_obs": np.zeros((5, 9, 2))}
    message = refusal(tmp_path, columns, mask_key="mask")
    assert "`next_obs` [5, 9, 2] has another shape than `obs` [5, 8, 2]; set `dataset.next_obs_key`" in message


def test_padded_choices(tmp_path: Path) -> None:
    """Actions [E, T] without an axis of features."""
    columns = padded()
    columns["action"] = columns["action"][:, :, 0]
    dataset = ingest(tmp_path, columns, mask_key="mask", **PADDED)
    assert steps(dataset) == counting_steps((4, 0, 6, 2, 5))


def test_text_is_no_column(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**counting_columns(), "done": np.array(["no"] * 19)})
    assert "`done` has dtype <U2, expected numbers" in message


def test_object_arrays_are_refused_with_the_conversion(tmp_path: Path) -> None:
    columns = counting_columns()
    ragged = {name: np.array(np.split(column, ENDS[:-1] + 1), object) for name, column in columns.items()}
    message = refusal(tmp_path, ragged)
    assert "`obs`, `next_obs`, `action`, `reward`, `done`, `truncated` hold pickled Python objects" in message
    code = message.partition("`np.savez")[2].rstrip("`")
    exec("np.savez" + code, {"np": np, "old": tmp_path / "log.npz", "new": tmp_path / "new.npz"})
    with np.load(tmp_path / "new.npz") as joined:
        assert all(np.array_equal(joined[name], column) for name, column in columns.items())
