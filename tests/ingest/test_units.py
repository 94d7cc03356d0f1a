"""Units and names of actions, from a log to the prepared dataset."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_examples import counting_log

from pipeline.data.episode import LoggedData
from pipeline.data.spec import DatasetSpec, read_spec
from pipeline.ingest.roles import apply_roles
from pipeline.ingest.sources.table import Table
from pipeline.ingest.sources.table_config import TableConfig
from pipeline.ingest.sources.units import is_unit, unit_of_name
from pipeline.ingest.writer import write_dataset

ROWS = ["1.5,0.1,-1", "2.5,0.4,-2", "3.0,0.2,-3", "2.0,0.3,-2"]


@pytest.mark.parametrize(
    "text",
    ["°C", "DEG F", "deg C", "m/s", "m/s^2", "m s-1", "W/m²", "kWh", "%", "rpm", "m³/h", "Volts", "mmHg", "ug/mL"],
)
def test_what_is_a_unit(text: str) -> None:
    assert is_unit(text)


@pytest.mark.parametrize("text", ["", "0", "+1", "setpoint", "TimeStep", "x", "Avg", "Smp", "t+1", "position", "tag"])
def test_what_is_none(text: str) -> None:
    assert not is_unit(text)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("temp [°C]", "°C"),
        ("speed(m/s)", "m/s"),
        ("Zone Mean Air Temperature [C](TimeStep)", "C"),
        ("Schedule Value [](TimeStep)", None),
        ("pose[0]", None),
        ("flow (setpoint)", None),
        ("[C]", None),
    ],
)
def test_unit_of_a_name(name: str, unit: str | None) -> None:
    assert unit_of_name(name) == unit


def log_of(folder: Path, *header: str, obs: str, action: str, reward: str) -> LoggedData:
    file = folder / "log.csv"
    file.write_text("\n".join([*header, *ROWS, ""]))
    config = TableConfig(
        path=str(file),
        held_out_path=str(file),
        obs_columns=[obs],
        action_columns=[action],
        reward_column=reward,
        terminal_column=None,
        episode_column=None,
    )
    return Table(config).read()


def prepared(folder: Path, log: LoggedData) -> DatasetSpec:
    (episode,) = log.episodes
    other = replace(episode, reward=episode.reward - 1)
    return write_dataset(folder / "dataset", replace(log, episodes=[episode, other]), "log", 0.5, 0).spec


def test_a_line_of_units_names_them(tmp_path: Path) -> None:
    log = log_of(tmp_path, "temp,comp_spd,kpi", "°C,rpm,-", "Avg,Smp,Smp", obs="temp", action="comp_spd", reward="kpi")
    spec = prepared(tmp_path, log)
    assert (spec.action_names, spec.units) == (["comp_spd"], {"temp": "°C", "comp_spd": "rpm"})
    assert (spec.action_label(0), spec.label("temp"), spec.label("other")) == ("comp_spd [rpm]", "temp [°C]", "other")
    assert read_spec(tmp_path / "dataset" / "spec.json") == spec


def test_a_line_of_descriptions_is_no_line_of_units(tmp_path: Path) -> None:
    header = ("temp,valve,kpi", "temperature of the room,position of the valve,m")
    assert log_of(tmp_path, *header, obs="temp", action="valve", reward="kpi").units == {}


def test_names_with_units_are_not_given_them_twice(tmp_path: Path) -> None:
    log = log_of(tmp_path, "temp (C),valve [%],kpi", obs="temp (C)", action="valve [%]", reward="kpi")
    spec = prepared(tmp_path, log)
    assert spec.units == {"temp (C)": "C", "valve [%]": "%"}
    assert (spec.action_label(0), spec.label("temp (C)")) == ("valve [%]", "temp (C)")


def test_forecasts_have_the_unit_of_their_feature(tmp_path: Path) -> None:
    log = log_of(tmp_path, "temp,valve,kpi", "°C,%,-", obs="temp", action="valve", reward="kpi")
    assert apply_roles(log, ["temp"], 2).units == {"temp": "°C", "valve": "%", "temp[+1]": "°C", "temp[+2]": "°C"}


def test_logs_without_names_and_older_datasets(tmp_path: Path) -> None:
    spec = write_dataset(tmp_path / "d", counting_log(), "log", 0.5, 0).spec
    assert (spec.action_names, spec.units, spec.action_label(1)) == ([], {}, "action[1]")
    file = tmp_path / "d" / "spec.json"
    older = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("action_names", "sha256")}
    file.write_text(json.dumps(older))
    assert read_spec(file) == spec


def test_names_that_no_longer_fit_are_left_out(tmp_path: Path) -> None:
    log = log_of(tmp_path, "temp,valve,kpi", "°C,%,-", obs="temp", action="valve", reward="kpi")
    wider = [replace(e, action=np.repeat(e.action, 2, axis=1)) for e in log.episodes]
    spec = prepared(tmp_path, replace(log, episodes=wider))
    assert (spec.action_names, spec.units) == ([], {"temp": "°C"})
