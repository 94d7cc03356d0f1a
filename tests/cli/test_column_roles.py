"""What `inspect` makes of the columns of a table, by name and by content."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import csv

from pipeline.cli.inspect import inspect_log
from pipeline.cli.table_roles import assign_roles
from pipeline.cli.table_sample import read_sample
from pipeline.ingest.sources.table_files import TableFile

ROWS, LENGTH = 240, 24
EPISODE = np.repeat(np.arange(ROWS // LENGTH), LENGTH)
STEP = np.tile(np.arange(LENGTH), ROWS // LENGTH)
RANDOM = np.random.default_rng(0)
X, Y, U = (RANDOM.normal(size=ROWS).round(4) for _ in range(3))
LOG: dict[str, Any] = {"episode": EPISODE, "x": X, "action": U, "reward": Y}


def table(folder: Path, columns: dict[str, Any]) -> Path:
    csv.write_csv(pa.table({name: pa.array(values) for name, values in columns.items()}), folder / "log.csv")
    return folder / "log.csv"


def inspected(folder: Path, columns: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    text = "\n".join(inspect_log(table(folder, columns)))
    return text, yaml.safe_load(text)["dataset"]


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("Unnamed: 0", np.arange(ROWS), "without a name"),
        ("__index_level_0__", STEP, "without a name"),
        ("k", STEP, "row numbers"),
        ("counter", np.arange(ROWS) + 1000, "row numbers"),
        ("index", np.arange(ROWS) * 2, "row numbers"),
        ("session_uuid", [f"a{i}" for i in EPISODE % 7], "ids"),
        ("comment", [f"row {i}" for i in range(ROWS)], "text with over 64 different values"),
        ("frame_id", ["base_link"] * ROWS, "constant text"),
        ("nothing", pa.nulls(ROWS, pa.string()), "empty"),
        ("broken", [-9999] * ROWS, "empty"),
        ("x status", ["Good"] * (ROWS - 1) + ["Bad"], "marks of quality"),
        ("episode_return", Y * 3, "results of a run"),
        ("reward_energy", Y / 3, "other rewards"),
    ],
)
def test_columns_that_are_no_state_are_left_out(column: str, values: Any, reason: str, tmp_path: Path) -> None:
    text, block = inspected(tmp_path, {column: values, **LOG})
    assert f"# left out, {reason}: {column}" in text
    assert (block["obs_columns"], block["reward_column"]) == (["x"], "reward")


def test_columns_that_stay_are_said(tmp_path: Path) -> None:
    text, block = inspected(tmp_path, {**LOG, "gain": np.full(ROWS, 3.5), "mass": EPISODE * 0.5})
    assert "# constant, but kept: gain" in text
    assert "# constant within each episode, and kept: mass" in text
    assert block["obs_columns"] == ["x", "gain", "mass"]


@pytest.mark.parametrize(
    ("column", "values", "chosen"),
    [
        ("time", STEP * 0.5, True),
        ("clock2", STEP * 0.5, True),  # by content: equal steps
        ("field.header.stamp", 1.5e9 + STEP, True),
        ("T", X * 3, False),  # a temperature, not t
        ("reaction time", X * 3, False),
        ("level", np.tile(np.sort(X[:LENGTH]), ROWS // LENGTH), False),  # grows, but unevenly
    ],
)
def test_time(column: str, values: Any, chosen: bool, tmp_path: Path) -> None:
    _, block = inspected(tmp_path, {column: values, **LOG})
    assert block["time_column"] == (column if chosen else None)
    assert block["obs_columns"] == (["x"] if chosen else [column, "x"])


def shifted(values: np.ndarray, by: int) -> np.ndarray:
    """Within each episode, the values of ``by`` rows later."""
    rows = np.clip(STEP + by, 0, LENGTH - 1) + EPISODE * LENGTH
    return values[rows]


@pytest.mark.parametrize(
    ("columns", "obs", "after", "left_out"),
    [
        ({"x": X, "y": Y, "after_a": shifted(X, 1), "after_b": shifted(Y, 1)}, ["x", "y"], ["after_a", "after_b"], ""),
        ({"x": X, "next_x": shifted(X, 1)}, ["x"], ["next_x"], ""),
        ({"s'": shifted(X, 1), "s": X}, ["s"], ["s'"], ""),
        ({"x": X, "later": shifted(X, 1), "y": Y}, ["x", "y"], None, "later"),
        ({"x": X, "x_prev": shifted(X, -1)}, ["x", "x_prev"], None, ""),
    ],
)
def test_next_states(columns: dict[str, Any], obs: list[str], after: Any, left_out: str, tmp_path: Path) -> None:
    text, block = inspected(tmp_path, {"episode": EPISODE, **columns, "action": U, "reward": U})
    assert (block["obs_columns"], block.get("next_obs_columns")) == (obs, after)
    assert ("# left out, the value that another column has in the next row: later" in text) == bool(left_out)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("FIC103.SP", "action"),
        ("Heating Setpoint", "action"),
        ("valve_3", "action"),
        ("insulin", "action"),
        ("oveTSup_u", "action"),
        ("a:dose", "action"),
        ("oa_temp", "exogenous"),
        ("price_eur", "exogenous"),
        ("hour", "exogenous"),
        ("CHO", "exogenous"),
        ("oa_temp_spt", "exogenous"),
        ("Environment:Site Outdoor Air Drybulb Temperature [C](TimeStep)", "exogenous"),
        ("id_power", "obs"),
        ("occluded", "obs"),
        ("display", "obs"),
    ],
)
def test_roles_by_name(name: str, role: str, tmp_path: Path) -> None:
    path = table(tmp_path, {"episode": EPISODE, "x": X, name: Y, "reward": U})
    roles = assign_roles(read_sample([TableFile(path)]))
    assert [key for key in ("action", "exogenous", "obs") if name in vars(roles)[key]] == [role]


@pytest.mark.parametrize(("lengths", "key"), [((20, 28), "terminal_column"), ((24, 24), "timeout_column")])
def test_a_column_set_at_ends_alone(lengths: tuple[int, int], key: str, tmp_path: Path) -> None:
    sizes = np.tile(lengths, 5)
    crashed = np.zeros(ROWS, int)
    crashed[np.cumsum(sizes) - 1] = 1
    _, block = inspected(tmp_path, {**LOG, "episode": np.repeat(np.arange(10), sizes), "crashed": crashed})
    assert block[key] == "crashed"


@pytest.mark.parametrize(("every", "expected"), [(6, 6), (1, None)])
def test_held_values(every: int, expected: int | None, tmp_path: Path) -> None:
    lab = X[np.arange(ROWS) // every * every]
    _, block = inspected(tmp_path, {**LOG, "x": Y, "lab": lab, "reward": U})
    assert block.get("update_every") == ({"lab": expected} if expected else None)


def test_missing_values(tmp_path: Path) -> None:
    cells = [f"{x}" for x in X]
    cells[5], cells[30] = "Bad Input", "-9999"
    text, block = inspected(tmp_path, {**LOG, "x": cells, "missing_x": (np.isin(np.arange(ROWS), (5, 30))).astype(int)})
    assert (block["na_values"], block["missing"]) == (["Bad Input", "-9999"], "mask")
    assert "missing: mask  # unsure: empty cells in x" in text


def test_days_and_months_that_cannot_be_told_apart(tmp_path: Path) -> None:
    stamps = [f"03/0{1 + e // 4}/2024 {e % 4 * 6:02d}:{t:02d}:00" for e, t in zip(EPISODE, STEP, strict=True)]
    text, block = inspected(tmp_path, {"when": stamps, **LOG})
    assert block["time_column"] == "when"
    assert block["time_format"] in ("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S")
    assert "no date tells days from months" in text


def test_text_actions_and_transposed_tables(tmp_path: Path) -> None:
    text, _ = inspected(tmp_path, {**LOG, "action": ["left", "right"] * (ROWS // 2)})
    assert "`action_columns`: `action` is text (left, right); number its values in a new column" in text
    np.savetxt(tmp_path / "turned.txt", RANDOM.normal(size=(5, 200)))
    with pytest.raises(ValueError, match="200 columns without names, but 5 rows: rows are columns; turn it"):
        list(inspect_log(tmp_path / "turned.txt"))
