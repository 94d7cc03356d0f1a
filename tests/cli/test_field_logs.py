"""Every layout of `field-logs`, and further ones: what `inspect` prints is ingested as it is, or with the one thing
that it asks for, and the arrays are the true ones; or the log is refused in one line that names the fix.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import field_logs as truth
import log_layouts as layouts
import numpy as np
import pytest
import yaml
from closure import ROOT

from pipeline.cli.inspect import inspect_log
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode
from pipeline.ingest.ingest import ingest
from pipeline.ingest.sources import SOURCES
from pipeline.params import choose, read_params
from pipeline.stages import preflight

REWARD = """def square(episode):
    return {"reward": -episode["obs"]["state"][1:, 0] ** 2}


def risk(episode):
    return {"reward": -episode["obs"]["state"][1:, 4]}
"""
ASKS_FOR_REWARD = "# not read yet: set `reward_column`"


@dataclass(frozen=True)
class Case:
    """What ``inspect`` must print, what the user then ``adds`` to the block, and the columns of the observations."""

    path: str
    true: Callable[[Path], list[Episode]]
    printed: tuple[str, ...] = ()
    adds: dict[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with functions that define rewards."""
    (tmp_path / "data/transforms").mkdir(parents=True)
    (tmp_path / "data/transforms/mine.py").write_text(REWARD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspected(path: Path) -> tuple[str, dict[str, Any]]:
    """What ``inspect`` prints, and the block in it."""
    text = "\n".join(inspect_log(path))
    return text, yaml.safe_load(text)["dataset"]


def ingested(block: dict[str, Any], folder: Path) -> tuple[list[Episode], PreparedDataset, list[str]]:
    """Episodes of the source after the transform, and the prepared dataset; the block is accepted by preflight."""
    preflight.check({**read_params(ROOT / "params.yaml"), "dataset": block})
    source, config = choose(SOURCES, block, "dataset", key="source")
    logged = source(config).read()
    names = logged.obs_names.get("state", [])
    return list(logged.episodes), ingest(source(config).read(), config, folder).dataset, names


def assert_same(episodes: list[Episode], expected: list[Episode], rewards: bool = True) -> None:
    """All arrays of all episodes are equal, up to float32."""
    assert len(episodes) == len(expected)
    for episode, true in zip(episodes, expected, strict=True):
        assert set(episode.obs) == set(true.obs)
        for key, array in true.obs.items():
            np.testing.assert_allclose(episode.obs[key], array, rtol=1e-6)
        np.testing.assert_allclose(episode.action, true.action, rtol=1e-6)
        if rewards:
            np.testing.assert_allclose(episode.reward, true.reward, rtol=1e-6)
        assert episode.terminated == true.terminated


def assert_read(path: Path, case: Case, expected: list[Episode], folder: Path) -> None:
    text, block = inspected(path)
    for line in case.printed:
        assert line in text
    if not case.adds:
        assert "# not read yet" not in text
    episodes, dataset, names = ingested({**block, **case.adds}, folder)
    if case.features:
        assert names == list(case.features)
    assert_same(episodes, expected, rewards="transform" not in case.adds)
    if block.get("split") == "last":  # steps are left out between the parts
        return
    assert dataset.spec.transitions == sum(len(e.action) for e in expected)
    assert dataset.episode_returns("all").sum() == pytest.approx(
        sum(e.reward.sum() for e in expected), rel=1e-4, abs=1e-3
    )


def german(file: str) -> Callable[[Path], list[Episode]]:
    def read(folder: Path) -> list[Episode]:
        columns = truth.table(folder / file, ";")
        names = ("Temperatur [°C]|Druck (bar)", "Heizleistung %", "Ertrag", "Charge")
        return truth.from_table(columns, *names)

    return read


def units(file: str, pv: str = "5RT101 pv", sp: str = "5RT101 sp", skip: int = 0) -> Callable[[Path], list[Episode]]:
    def read(folder: Path) -> list[Episode]:
        columns = {name: cells[skip:] for name, cells in truth.table(folder / file).items()}
        whole = truth.from_table(columns, pv, sp, "reward", "run")
        for episode in whole if file == "bad.csv" else []:  # BAD: the last value is held
            state = episode.obs["state"]
            for t in np.flatnonzero(np.isnan(state[:, 0])):
                state[t] = state[t - 1]
        return whole

    return read


def with_flag(case: Callable[[Path], list[Episode]]) -> Callable[[Path], list[Episode]]:
    """With the flag and the age of a single column, of which the value at step 4 of episode 3 is missing."""

    def read(folder: Path) -> list[Episode]:
        result = case(folder)
        for e, episode in enumerate(result):
            flag = np.ones(len(episode.obs["state"]))
            flag[4] = e != 3
            episode.obs["state"] = np.c_[episode.obs["state"], flag, 1 - flag]
        return result

    return read


def of_file(function: Callable[..., list[Episode]], name: str, *more: str) -> Callable[[Path], list[Episode]]:
    return lambda folder: function(folder / name, *more)


NUMBERED = {"obs_columns": ["column_1", "column_2"], "action_columns": ["column_3"], "reward_column": "column_4"}
TURBOFAN = {
    "obs_columns": ["column_4", "column_5", "column_6"],
    "action_columns": ["column_3"],
    "reward_column": "column_7",
}
GERMAN = {
    "obs_columns": ["Temperatur [°C]", "Druck (bar)"],
    "action_columns": ["Heizleistung %"],
    "reward_column": "Ertrag",
}
FIELD_LOGS = [
    Case(
        "01-headerless-csv/data.csv",
        truth.headerless,
        (
            "line 1 holds numbers, not names",
            "# 360 rows: 12 episodes of 30 rows",
            "# not read yet: set `action_columns`",
        ),
        {**NUMBERED, "terminal_column": "column_5", "timeout_column": None},
    ),
    Case(
        "02-european-logger/anlage_1.csv",
        german("anlage_1.csv"),
        (
            "candidates: Heizleistung %",
            "candidates: Ertrag",
            'decimal: ","',
            "episode_column: Charge",
            "time_column: Zeitpunkt",
        ),
        GERMAN,
    ),
    Case("02-european-logger/Anlage_1.CSV", german("Anlage_1.CSV"), ("candidates: Ertrag",), GERMAN),
    Case(
        "03-sepsis-terminal-reward/sepsis_final.csv",
        truth.sepsis,
        ("action_count: 25", "# 30 terminations, 0 steps dropped", "# left out, clocks: m:charttime"),
    ),
    Case("04-robomimic-groups/low_dim.hdf5", truth.robomimic, ("source: hdf5_groups",)),
    Case("05-lerobot-chunks/ds", truth.lerobot, ("source: lerobot",)),
    Case("06-minari-dict-discrete/root", truth.minari, ("spaces are converted",)),
    Case("07-minari-multidiscrete/root", truth.minari, ("become one choice of 12",)),
    Case("08-minari-framestack/root", truth.minari, ("channels last",)),
    Case("09-minari-wrapped-env/root", truth.minari, ("# 2400 steps in 12 episodes",)),
    Case("11-pandas-index/log.csv", truth.pandas_index, ("# left out, without a name: column_1",), features=("x", "v")),
    Case(
        "12-sinergym-monitor/Eplus-res1",
        truth.sinergym,
        ("# 160 steps in 4 episodes",),
        {"obs_columns": ["month", "outdoor_temperature", "air_temperature"], "exogenous_columns": []},
    ),
    Case(
        "12-sinergym-monitor/old",
        truth.sinergym_old,
        ("action_offset: 1", "reward_offset: 1", "# left out, clocks: time (seconds)", "time_column: timestep"),
        {"obs_columns": ["outdoor_temperature", "air_temperature"]},
    ),
    Case("13-units-row/units.csv", units("units.csv", skip=1), ("header: 2", "time_column: time")),
    Case("13-units-row/usdate.csv", units("usdate.csv"), ("time_column: time",)),
    Case("13-units-row/spaced.csv", units("spaced.csv", sp="setpoint"), features=("5RT101 pv",)),
    Case("13-units-row/trailing.csv", units("trailing.csv", "pv", "setpoint"), features=("pv",)),
    Case(
        "13-units-row/bad.csv",
        with_flag(units("bad.csv")),
        ('na_values: ["BAD"]', "missing: mask"),
        features=("5RT101 pv", "5RT101 pv measured", "5RT101 pv age"),
    ),
    Case(
        "15-next-state-columns/sars.csv",
        of_file(truth.next_states, "sars.csv", "s0|s1", "ns0|ns1"),
        ('next_obs_columns: ["ns0", "ns1"]',),
        features=("s0", "s1"),
    ),
    Case(
        "15-next-state-columns/named.csv",
        of_file(truth.next_states, "named.csv", "state_0|state_1", "next_state_0|next_state_1"),
        ('next_obs_columns: ["next_state_0", "next_state_1"]',),
        features=("state_0", "state_1"),
    ),
    Case(
        "16-dones-only-npz/buffer.npz",
        of_file(truth.arrays, "buffer.npz"),
        ("12 of 12 terminations are at the maximal",),
    ),
    Case("16-dones-only-npz/padded.npz", of_file(truth.arrays, "padded.npz"), ("mask_key: mask",)),
    Case("16-dones-only-npz/sb3.npz", of_file(truth.arrays, "sb3.npz"), ("the second axis, of length 1, is removed",)),
    Case("17-pandas-parquet/cat.parquet", of_file(truth.frame, "cat.parquet"), ("time_column: timestamp",)),
    Case("17-pandas-parquet/interleaved.csv", of_file(truth.frame, "interleaved.csv"), ("12 episodes of 30 rows",)),
    Case("17-pandas-parquet/offsets.csv", of_file(truth.frame, "offsets.csv"), ("348 steps in 12 episodes",)),
    Case("19-simglucose-folder/results 2022", truth.simglucose, (ASKS_FOR_REWARD,), {"transform": "mine:risk"}),
    Case(
        "20-no-reward/robot.csv", truth.robot, (ASKS_FOR_REWARD, "`def reward(episode)"), {"transform": "mine:square"}
    ),
    Case("21-minari-04/root", truth.minari, ("source: minari",)),
    Case(
        "23-whitespace-txt/train_FD001.txt",
        of_file(truth.turbofan, "train_FD001.txt"),
        ("episode_column: column_1",),
        TURBOFAN,
    ),
    Case(
        "23-whitespace-txt/train_FD001.csv",
        of_file(truth.turbofan, "train_FD001.csv"),
        ("left out, row numbers: column_2",),
        TURBOFAN,
    ),
    Case(
        "24-dict-env/my logs #1/toy [a].csv", truth.toy, ("# 400 steps in 20 episodes of 20",), features=("pos", "vel")
    ),
]


@pytest.mark.parametrize("case", FIELD_LOGS, ids=lambda case: case.path.replace(" ", "_"))
def test_field_log(case: Case, shared_data: Path, project: Path) -> None:
    folder = shared_data / "field-logs"
    assert_read(folder / case.path, case, case.true(folder / case.path.partition("/")[0]), project / "d")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("17-pandas-parquet/local.csv", "# warning: local.csv: 12 gaps of more than"),
        ("22-ragged-npz/ragged.npz", "join the episodes of a file you trust: `np.savez("),
    ],
)
def test_field_log_that_needs_another_hand(name: str, fix: str, shared_data: Path) -> None:
    try:
        said = "\n".join(inspect_log(shared_data / "field-logs" / name))
    except ValueError as error:
        said = str(error)
        assert "\n" not in said
    assert fix in said


FURTHER = [
    Case(
        "bms_trend",
        layouts.bms_trend,
        ("time_column: Timestamp", "header: 4"),
        features=("AHU1 SAT (degC)", "OA Temp (degC)"),
    ),
    Case(
        "energyplus",
        layouts.energyplus,
        (ASKS_FOR_REWARD, "split: last", "time_column: Date/Time"),
        {"transform": "mine:square"},
    ),
    Case("boptest", layouts.boptest, ("constant, but kept: oveHeaPumY_activate",), {"obs_columns": ["reaTZon_y"]}),
    Case("icu_stays", layouts.icu_stays, ("group_column: subject_id", "terminal_column: end_of_stay")),
    Case(
        "rosbag_csv",
        layouts.rosbag_csv,
        ("row numbers: field.header.seq", "constant text: field.header.frame_id", "time_format: ns"),
    ),
    Case("maniskill", layouts.maniskill, ("source: hdf5_groups", "terminal_key: terminated", "timeout_key: truncated")),
    Case("lerobot_3", layouts.lerobot_3, ("source: lerobot",)),
    Case(
        "ohio_diabetes",
        layouts.ohio_diabetes,
        (ASKS_FOR_REWARD, "marks of missing values: missing_cbg", "time_format: s", 'exogenous_columns: ["carbInput"]'),
        {"transform": "mine:square"},
    ),
    Case(
        "historian_wide",
        layouts.historian_wide,
        ('na_values: ["Bad Input"]', "left out, marks of quality: TI101.PV Quality"),
    ),
    Case(
        "scada",
        layouts.scada,
        (ASKS_FOR_REWARD, 'na_values: ["Bad Input", "I/O Timeout"]', "row numbers: No."),
        {"transform": "mine:square"},
    ),
    Case(
        "flotation",
        layouts.flotation,
        (
            ASKS_FOR_REWARD,
            'update_every: {"% Silica Concentrate": 180}',
            "left out, times that are empty or repeat: date",
        ),
        {"transform": "mine:square"},
    ),
    Case("pandas_multi_index", layouts.pandas_multi_index, ("rows: one episode", "split: last")),
    Case(
        "units_row", layouts.units_row, ("episode_column: Charge", 'action_columns: ["Sollwert"]', "time_column: Zeit")
    ),
    Case("transitions", layouts.transitions, ("left out, without a name: column_1", "6 episodes of 41 to 48")),
]


@pytest.mark.parametrize("case", FURTHER, ids=lambda case: case.path)
def test_further_layout(case: Case, project: Path) -> None:
    log: Any = case.true(project)
    assert_read(log.path, replace(case, features=log.features or case.features), log.episodes, project / "d")


@pytest.mark.parametrize(
    ("write", "fix"),
    [
        (
            layouts.historian_long,
            "one row a value (`Tagname` says of what), not a row a step; make a column of each: pandas.",
        ),
        (layouts.monitor, "one row an episode (r: return, l: length), no observations or actions; log every step"),
        (layouts.gym_text, "column `obs` has arrays as text, such as `[20.3515 0.9526]`; write one column a number"),
    ],
)
def test_further_layout_that_is_no_log_of_steps(write: Callable[[Path], layouts.Log], fix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        list(inspect_log(write(tmp_path).path))
    assert fix in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("log.xlsx", "save the sheet as CSV: `pandas.read_excel(file).to_csv(new, index=False)`"),
        ("buffer.pkl", "it may run code when loaded, so it is not opened here"),
        ("run.bag", "export one table, with the topics at common times"),
        ("data.tfrecord-00000-of-00001", "read the episodes with tensorflow_datasets, in a function"),
        ("559-ws-training.xml", "`pandas.read_xml(file).to_csv(new, index=False)`"),
        ("log.mat", "`numpy.savez(new, **scipy.io.loadmat(file))`"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_other_formats_name_the_conversion(name: str, fix: str, inside: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(ValueError) as caught:
        list(inspect_log(tmp_path if inside else tmp_path / name))
    assert fix in str(caught.value)
    assert name in str(caught.value)
