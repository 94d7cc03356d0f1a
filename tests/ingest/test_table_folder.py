"""Folders of tables: nested ones, several tables of one episode, copies, and files that are no part of the log."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.side_by_side import SideBySide
from pipeline.ingest.sources.table_files import file_notes
from pipeline.ingest.sources.table_folder import table_files
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def rows(first: int, count: int = 4) -> list[str]:
    """x counts the rows of the log, u is a hundredth of it, and the reward its negative."""
    return [f"{i},{i / 100},{-i}" for i in range(first, first + count)]


def write(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, ""]))


def ingest(folder: Path, **options: Any) -> PreparedDataset:
    block = {
        "source": "table",
        "path": str(folder),
        "held_out_path": str(folder),
        "obs_columns": ["x"],
        "action_columns": ["u"],
        "terminal_column": None,
        "episode_column": None,
        "max_dropped_return": 1.0,
        "action_low": [-1.0],
        "action_high": [1.0],
    }
    source, config = choose(SOURCES, {**block, **options}, "dataset", key="source")
    target = folder.parent / f"{folder.name} prepared"
    return write_dataset(target, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        ingest(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def x_of(dataset: PreparedDataset) -> list[float]:
    return dataset.obs["state"][:, 0].tolist()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two episodes in nested folders."""
    for e in range(2):
        write(tmp_path / f"logs/day-{e}/run.csv", ["x,u,reward", *rows(4 * e)])
    return tmp_path / "logs"


def test_nested_folders_are_read(logs: Path) -> None:
    dataset = ingest(logs)
    assert x_of(dataset) == list(range(8))
    assert dataset.episode_lengths("all").tolist() == [3, 3]


def test_columns_in_another_order_and_another_dialect(logs: Path) -> None:
    write(logs / "c.CSV", ["reward;u;x;more", *(f"{-i};{i / 100};{i};7".replace(".", ",") for i in range(8, 12))])
    dataset = ingest(logs)
    assert sorted(x_of(dataset)) == list(range(12))
    np.testing.assert_allclose(
        sorted(dataset.reward), np.sort([*-np.arange(12.0)[[0, 1, 2, 4, 5, 6, 8, 9, 10]], 0, 0, 0])
    )


def test_files_without_the_columns_are_left_out_with_a_warning(logs: Path) -> None:
    write(logs / "performance_stats.csv", [",mean,best", "a,1,2", "b,3,4"])
    write(logs / "notes.txt", ["This is about the runs.", "They went well."])
    write(logs / ".hidden.csv", ["x,u,reward", *rows(50)])
    dataset = ingest(logs)
    assert x_of(dataset) == list(range(8))
    warning = next(text for text in dataset.spec.warnings if "left out" in text)
    assert "logs: 2 of 4 tables are left out" in warning
    assert "performance_stats.csv (other columns)" in warning
    assert "notes.txt (" in warning
    assert "`dataset.files` says which files are read" in warning


def test_a_file_that_lacks_a_few_columns_is_refused(logs: Path) -> None:
    write(logs / "day-0/other.csv", ["x,u,rewards", *rows(8)])
    expected = f"{logs / 'day-0/other.csv'}: no column `reward`, which other files in {logs} have; add it, or name"
    assert expected in refusal(logs)
    assert x_of(ingest(logs, files=["run.csv"])) == list(range(8))


def test_a_wrong_name_is_no_reason_to_leave_files_out(logs: Path) -> None:
    assert "run.csv: no column `xx` (did you mean `x`?); set `dataset.obs_columns`" in refusal(logs, obs_columns=["xx"])


def test_patterns_choose_files(logs: Path) -> None:
    write(logs / "test.csv", ["x,u,reward", *rows(8)])
    assert x_of(ingest(logs, files=["day-*"])) == list(range(8))
    message = refusal(logs, files=["*.parquet"])
    assert (
        "no table fits `dataset.files` ['*.parquet']; correct it (tables: day-0/run.csv, day-1/run.csv, test" in message
    )


def test_exact_copies_are_left_out_with_a_warning(logs: Path) -> None:
    write(logs / "day-0/RUN.CSV", ["x,u,reward", *rows(0)])
    dataset = ingest(logs)
    assert x_of(dataset) == list(range(8))
    assert any(
        "exact copies of other files are left out: day-0/run.csv (of day-0/RUN.CSV)" in w for w in dataset.spec.warnings
    )


def test_names_that_differ_in_case_are_read_with_a_warning(logs: Path) -> None:
    write(logs / "day-0/RUN.CSV", ["x,u,reward", *rows(8)])
    dataset = ingest(logs)
    assert sorted(x_of(dataset)) == list(range(12))
    assert any(
        "day-0/RUN.CSV and day-0/run.csv differ only in case, and both are read" in w for w in dataset.spec.warnings
    )


def test_tables_without_names_of_another_width_are_left_out(tmp_path: Path) -> None:
    for e in range(2):
        write(tmp_path / f"logs/d0{e}.dat", [row.replace(",", "  ") for row in rows(4 * e)])
    write(tmp_path / "logs/transposed.dat", ["0 1 2 3", "0 0.1 0.2 0.3", "0 -1 -2 -3"])
    columns = {"obs_columns": ["column_1"], "action_columns": ["column_2"], "reward_column": "column_3"}
    dataset = ingest(tmp_path / "logs", **columns)
    assert x_of(dataset) == list(range(8))
    assert any("transposed.dat (other columns)" in warning for warning in dataset.spec.warnings)
    message = refusal(tmp_path / "logs/d00.dat", held_out_path=str(tmp_path / "logs/transposed.dat"), **columns)
    assert f"transposed.dat: 4 columns without names, {tmp_path / 'logs/d00.dat'} has 3; name files" in message


def side_by_side(folder: Path, episodes: int, suffix: str = "csv", more: int = 1, steps: int = 40) -> None:
    """Sinergym's layout: observations have one row more than actions and rewards."""
    for e in range(episodes):
        x = np.arange(steps + more) + 100.0 * e
        tables = {
            "observations": {"x": x, "y": -x},
            "agent_actions": {"u": x[:steps] / 1000},
            "rewards": {"reward": x[:steps]},
        }
        for name, columns in tables.items():
            file = folder / f"episode-{e + 1}/monitor/{name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "parquet":
                pq.write_table(pa.table(columns), file, row_group_size=7 if name == "rewards" else 100)
            else:
                cells = zip(*columns.values(), strict=True)
                write(file, [",".join(columns), *(",".join(f"{cell:g}" for cell in row) for row in cells)])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("more", [0, 1])
def test_several_tables_of_one_episode(suffix: str, more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.sources.table_files.BYTES", 64)
    side_by_side(tmp_path / "logs", 3, suffix, more)
    dataset = ingest(tmp_path / "logs", obs_columns=["x", "y"])
    steps = 39 + more
    assert dataset.episode_lengths("all").tolist() == [steps] * 3
    for e, (start, stop) in enumerate(zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)):
        x = np.arange(steps + 1) + 100.0 * e
        np.testing.assert_array_equal(dataset.obs["state"][start:stop], np.stack([x, -x], 1))
        np.testing.assert_allclose(dataset.action[start : stop - 1, 0], x[:-1] / 1000, rtol=1e-6)
        np.testing.assert_array_equal(dataset.reward[start : stop - 1], x[:-1])


def test_tables_side_by_side_are_recognized_without_names(tmp_path: Path) -> None:
    side_by_side(tmp_path / "logs", 3)
    write(tmp_path / "logs/progress.csv", ["episode,mean", "1,2", "2,3"])
    tables = table_files(tmp_path / "logs")
    assert [type(table) for table in tables] == [SideBySide] * 3
    assert tables[0].names() == ["u", "x", "y", "reward"]
    assert [type(table) for table in table_files(tmp_path / "logs/episode-1")] == [SideBySide]


def test_files_of_the_same_columns_are_not_side_by_side(logs: Path) -> None:
    write(logs / "day-0/evening.csv", ["x,u,reward", *rows(8)])
    write(logs / "performance_stats.csv", [",mean,best", "a,1,2", "b,3,4"])
    tables = table_files(logs)
    assert [table.path.name for table in tables] == ["evening.csv", "run.csv", "run.csv"]
    assert "performance_stats.csv (other columns)" in " ".join(file_notes(tables))


def test_a_name_in_several_tables_gets_that_of_its_file(tmp_path: Path) -> None:
    side_by_side(tmp_path / "logs", 3)
    for e in range(3):
        file = tmp_path / f"logs/episode-{e + 1}/monitor/observations.csv"
        write(file.with_name("normalized.csv"), ["x,y", *(["0,0"] * 41)])
    dataset = ingest(tmp_path / "logs", obs_columns=["observations.x", "normalized.y"])
    assert dataset.obs["state"][:3].tolist() == [[0, 0], [1, 0], [2, 0]]


def test_tables_side_by_side_of_other_lengths_are_refused(tmp_path: Path) -> None:
    side_by_side(tmp_path / "logs", 2, more=3)
    message = refusal(tmp_path / "logs")
    assert "monitor: agent_actions.csv has 40 rows and observations.csv over 41; tables side by side may" in message


def test_a_cell_of_a_table_side_by_side_is_named_by_its_file(tmp_path: Path) -> None:
    side_by_side(tmp_path / "logs", 2)
    file = tmp_path / "logs/episode-2/monitor/rewards.csv"
    file.write_text(file.read_text().replace("\n107\n", "\nlost\n"))
    assert f"{file}: line 9: column `reward`: `lost` is not a number" in refusal(tmp_path / "logs")
