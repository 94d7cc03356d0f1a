"""``inspect`` prints a block that ingest takes, and says what it is not certain of."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from data_examples import counting_columns
from test_table import counting_table

from pipeline.cli.action_bounds import round_bounds
from pipeline.cli.inspect import inspect_log
from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.collect import CollectConfig, collect_minari
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose, read_params
from pipeline.stages import preflight

ROOT = Path(__file__).parents[2]
LOGS = {  # steps, episodes and terminations, of train and held-out files; d3rlpy: without each last step
    "neorl2/DMSD-train.npz": (120_000, 1200, 0),
    "neorl2/DMSD-val.npz": (20_000, 200, 0),
    "neorl2/Simglucose-train.npz": (120_275, 342, 141),
    "neorl2/Simglucose-val.npz": (20_018, 62, 30),
    "neorl2/SafetyHalfCheetah-train.npz": (20_000, 20, 0),
    "neorl2/SafetyHalfCheetah-val.npz": (2_000, 2, 0),
    "mujoco-logs/hopper-medium.hdf5": (200_151, 461, 415),
    "mujoco-logs/hopper-mixed.hdf5": (300_789, 2_262, 2_260),
    "mujoco-logs/halfcheetah-mixed.hdf5": (200_000, 200, 0),
    "minari": (6_729, 25, 0),
    "minari/D4RL/door/human-v2": (6_729, 25, 0),
    "emei/cartpole-swingup-sac-medium-replay.h5": (75_999, 111, 51),
    "d3rlpy/pendulum-replay.h5": (99_000, 500, 0),
    "d3rlpy/pendulum-random.h5": (99_000, 500, 0),
}
LARGE = ("mujoco-logs", "neorl2/DMSD-train", "neorl2/Simglucose-train", "d3rlpy/pendulum-replay")


def printed(path: Path) -> str:
    return "\n".join(inspect_log(path)) + "\n"


def pasted(text: str, folder: Path) -> dict[str, Any]:
    """The printed lines in place of the block of the project's own params.yaml, accepted by preflight."""
    (folder / "params.yaml").write_text(text)
    block: dict[str, Any] = read_params(folder / "params.yaml")["dataset"]
    preflight.check({**read_params(ROOT / "params.yaml"), "dataset": block})
    return block


def ingest(block: dict[str, Any], folder: Path) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), config.name or "log", config.held_out_fraction, 0)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith(LARGE) else n for n in LOGS])
def test_every_log_is_ingested_by_the_block_printed_for_it(name: str, shared_data: Path, tmp_path: Path) -> None:
    text = printed(shared_data / name)
    spec = ingest(pasted(text, tmp_path), tmp_path / "d").spec
    steps, episodes, terminals = LOGS[name]
    assert (spec.transitions, spec.episodes, spec.terminals) == (steps, episodes, terminals)
    assert f"# {steps} steps in {spec.episodes} episodes" in text
    assert f"# {spec.terminals} terminations, {spec.dropped} steps dropped" in text


def npz(tmp_path: Path, **changed: Any) -> Path:
    columns = {name: array for name, array in {**counting_columns(), **changed}.items() if array is not None}
    np.savez(tmp_path / "log.npz", **columns)
    return tmp_path / "log.npz"


def test_usual_names_leave_a_short_block(tmp_path: Path) -> None:
    block = pasted(printed(npz(tmp_path)), tmp_path)
    assert sorted(block) == ["action_high", "action_low", "env_id", "held_out_path", "name", "path", "source"]
    assert (block["source"], block["name"], block["env_id"]) == ("npz", "log", None)
    assert ingest(block, tmp_path / "d").spec.terminals == 3


@pytest.mark.parametrize(
    ("named", "comment"),
    [
        ("Pendulum-v9", "the log names none that can be made here; without one, only evaluation is skipped"),
        ("MountainCarContinuous-v0", "null uses MountainCarContinuous-v0, which the log names"),
    ],
)
def test_other_names_are_mapped(named: str, comment: str, tmp_path: Path) -> None:
    columns = counting_columns()
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file.attrs["env_id"] = named
        for name, column in {"states": "obs", "next_states": "next_obs", "acts": "action", "Rew": "reward"}.items():
            file[name] = columns[column]
        file["done"], file["truncated"] = columns["done"], columns["truncated"]
    text = printed(tmp_path / "log.h5")
    block = pasted(text, tmp_path)
    mapped = {key: block[key] for key in block if key.endswith("_key")}
    names = {"obs_key": "states", "next_obs_key": "next_states", "action_key": "acts", "reward_key": "Rew"}
    assert mapped == {**names, "terminal_key": "done", "timeout_key": "truncated"}
    assert f"env_id: null  # unsure: {comment}" in text
    assert ("Pendulum-v9 cannot be made (" in text) == (named == "Pendulum-v9")
    assert ingest(block, tmp_path / "d").spec.terminals == 3


def test_ends_that_include_time_limits_are_seen(tmp_path: Path) -> None:
    columns = counting_columns()
    text = printed(npz(tmp_path, done=np.maximum(columns["done"], columns["truncated"])))
    assert "terminal_includes_timeouts: true  # unsure: all 2 rows with `truncated` also have `done`" in text
    assert ingest(pasted(text, tmp_path), tmp_path / "d").spec.terminals == 3


def test_true_ends_at_one_length_are_doubted(tmp_path: Path) -> None:
    columns = counting_columns((5, 5, 3, 5))
    ends = np.maximum(columns["done"], columns["truncated"])
    text = printed(npz(tmp_path, **{**columns, "done": ends, "truncated": None}))
    assert (
        "terminal_key: done  # unsure: 3 of 4 terminations are at the maximal length, 5 steps; if they are time" in text
    )
    assert "timeout_key: null  # unsure: no such column" in text
    assert ingest(pasted(text, tmp_path), tmp_path / "d").spec.episodes == 4


def test_a_file_beside_is_proposed_as_the_held_out_split(tmp_path: Path) -> None:
    for name in ("log-train.npz", "log-val.npz"):
        npz(tmp_path).rename(tmp_path / name)
    text = printed(tmp_path / "log-train.npz")
    assert "# unsure: log-val.npz is in the same folder" in text
    assert ingest(pasted(text, tmp_path), tmp_path / "d").spec.held_out_episodes == 5


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables(suffix: str, tmp_path: Path) -> None:
    columns = {**counting_table((4, 6, 5)), "gear": ["low", "high", "low"] * 6}
    columns["x"] = [x * x for x in columns["x"]]  # a column that grows by one in each row is left out
    file = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        pa.csv.write_csv(pa.table(columns), file)
    else:
        pq.write_table(pa.table(columns), file)
    block = pasted(printed(file), tmp_path)
    assert (block["obs_columns"], block["action_columns"]) == (["x", "gear"], ["u"])
    assert (block["episode_column"], block["time_column"], block["timeout_column"]) == ("episode", "time", None)
    spec = ingest(block, tmp_path / "d").spec
    assert (spec.episodes, spec.obs_names) == (3, {"state": ["x", "gear=high", "gear=low"]})


def test_a_row_that_is_written_twice_does_not_hide_the_time(tmp_path: Path) -> None:
    times = [f"2026-03-01 {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(400) if not 100 <= minute < 160]
    rows = [f"{time},{t / 7:.3f},{t % 5 / 5},{-(t % 3)}" for t, time in enumerate(times)]
    rows.insert(50, rows[50])
    (tmp_path / "plant.csv").write_text("\n".join(["Timestamp,temperature,action,reward", *rows]) + "\n")
    text = printed(tmp_path / "plant.csv")
    assert yaml.safe_load(text)["dataset"]["time_column"] == "Timestamp"
    assert "1 gap of more than 1.5 steps of 60 s, the longest of 3660 s" in text


def test_a_table_whose_names_tell_little_gives_a_draft(tmp_path: Path) -> None:
    rows = "".join(f"{run},{t},{run * t / 7},{t % 2},{t % 3}\n" for run in (1, 2) for t in range(9))
    (tmp_path / "plant.csv").write_text("run_id,time_s,level,heating,cost\n" + rows)
    text = printed(tmp_path / "plant.csv")
    assert "# not read yet: set `action_columns`: what the policy sets (candidates: level, heating), and" in text
    assert "and `reward_column` (candidates: cost), or a function that gives the reward:" in text
    assert "# 18 rows: 2 episodes of 9 rows" in text
    assert "#   level    number      0 to 2.2857" in text
    assert "action_low: null  # unsure: no action is named yet; null: the range of the log, with a warning" in text
    block: dict[str, Any] = yaml.safe_load(text)["dataset"]
    assert (block["episode_column"], block["time_column"]) == ("run_id", "time_s")
    assert block["obs_columns"] == ["level", "heating", "cost"]
    named = {"obs_columns": ["level"], "action_columns": ["heating"], "reward_column": "cost"}
    spec = ingest({**block, **named}, tmp_path / "d").spec
    assert (spec.episodes, spec.action_low, spec.action_high) == (2, [0.0], [1.0])


def test_uneven_tables_get_a_step(tmp_path: Path) -> None:
    columns = counting_table((4, 6))
    columns["time"][2] = 1.2
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    text = printed(tmp_path / "log.parquet")
    assert "resample: 0.5  # unsure: rows are not evenly spaced" in text
    assert ingest(pasted(text, tmp_path), tmp_path / "d").spec.transitions == 10


def test_minari_folders(tmp_path: Path) -> None:
    dataset_id = collect_minari(CollectConfig("data/logs", "data/logs", episodes=2), tmp_path / "minari")
    for place in ("minari", "minari/pendulum/mixed-v0", "minari/pendulum/mixed-v0/data/main_data.hdf5"):
        block = pasted(printed(tmp_path / place), tmp_path)
        assert (block["dataset_id"], block["path"]) == (dataset_id, str(tmp_path / "minari"))
        assert ingest(block, tmp_path / "d").spec.action_low == [-2.0]


def test_bounds_are_extremes_that_recur_or_round_numbers_beyond() -> None:
    low, high = np.array([-1.97, -0.3, 0.0, 0.031, 7.0]), np.array([1.0, 0.9, 12.34, 0.9, 7.0])
    at_low, at_high = np.array([1, 1, 5, 1, 9]), np.array([4, 1, 1, 1, 9])
    bounds = round_bounds(low, high, at_low, at_high)
    assert bounds == ([-2.0, -1.0, 0.0, 0.0, 6.0], [1.0, 1.0, 13.0, 1.0, 8.0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere.h5", "not found; name a log file or a Minari folder"),
        ("log.md", "unknown layout; use .hdf5"),
        ("empty", "no table; name a file with .csv"),
        ("log.npz", "no column looks like `reward_key` (columns: obs, next_obs, action, done, truncated)"),
        ("log.csv", "no column is left for observations (columns: reward); add columns"),
        ("torn.h5", "truncated, corrupt or not HDF5"),
    ],
)
def test_what_is_no_log(name: str, expected: str, tmp_path: Path) -> None:
    npz(tmp_path, reward=None)
    (tmp_path / "empty").mkdir()
    for file, text in {"log.md": "hello", "torn.h5": "hello", "log.csv": "reward\n2\n"}.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(ValueError) as caught:
        printed(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert expected in str(caught.value)
