"""Roles of columns: exogenous inputs, costs, groups and times; and files whose episodes alternate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_examples import Columns, counting_table, ingest, refusal, write

from pipeline.data.episode import Episode
from pipeline.ingest.ingest import ingest as ingest_all
from pipeline.ingest.sources import SOURCES
from pipeline.params import choose


def episodes(block: dict[str, Any], **options: Any) -> list[Episode]:
    source, config = choose(SOURCES, {**block, **options}, "dataset", key="source")
    return list(source(config).read().episodes)


def weather_log() -> Columns:
    columns = counting_table((3, 3, 3))
    sky = ["sun", "rain", "sun", "rain"] * 3
    machine = ["a"] * 4 + ["b"] * 4 + ["a"] * 4
    return {**columns, "outside": [float(t) for t in range(12)], "sky": sky, "machine": machine}


def test_exogenous_columns_are_observations_too(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", weather_log())
    source, config = choose(SOURCES, {**block, "exogenous_columns": ["outside", "sky"]}, "dataset", key="source")
    spec = ingest_all(source(config).read(), config, tmp_path / "d").dataset.spec
    assert spec.obs_names == {"state": ["x", "outside", "sky=rain", "sky=sun"]}
    assert spec.exogenous == {"state": [1, 2, 3]}
    again = {**block, "obs_columns": ["x", "outside"], "exogenous_columns": ["outside"]}
    source, config = choose(SOURCES, again, "dataset", key="source")
    spec = ingest_all(source(config).read(), config, tmp_path / "e").dataset.spec
    assert (spec.obs_names, spec.exogenous) == ({"state": ["x", "outside"]}, {"state": [1]})


def test_exogenous_columns_need_no_next_value(tmp_path: Path) -> None:
    columns = {
        "episode": [0, 0, 1, 1],
        "x": [0.0, 1, 10, 11],
        "nx": [1.0, 2, 11, 12],
        "u": [0.1] * 4,
        "reward": [1.0] * 4,
        "terminal": [0] * 4,
        "outside": [5.0, 6, 7, 8],
    }
    block = write(tmp_path / "log.csv", columns)
    options = {"next_obs_columns": ["nx"], "exogenous_columns": ["outside"], "time_column": None}
    dataset = ingest(tmp_path / "d", block, **options)
    assert dataset.obs["state"].tolist() == [[0, 5], [1, 6], [2, 6], [10, 7], [11, 8], [12, 8]]


def test_costs_groups_and_times(tmp_path: Path) -> None:
    columns = {**weather_log(), "heat": [float(t) for t in range(12)], "wear": [0.5] * 12}
    block = write(tmp_path / "log.csv", columns)
    read = episodes(block, cost_columns=["heat", "wear"], group_column="machine")
    assert [episode.group for episode in read] == ["a", "b", "a"]
    assert read[1].cost is not None
    assert read[1].cost.tolist() == [[4, 0.5], [5, 0.5], [6, 0.5]]
    assert [episode.span for episode in read] == [(0.0, 1.5)] * 3
    assert ingest(tmp_path / "d", block, cost_columns=["heat", "wear"]).spec.cost_names == ["heat", "wear"]
    resampled = episodes(block, cost_columns=["heat"], resample=1.0)[0].cost
    assert resampled is not None
    np.testing.assert_allclose(resampled[:, 0], [0.5, 2.0])  # means of the rows at 0 and 0.5, and at 1


def test_times_of_files_share_one_unit(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for day in (1, 2):
        columns = counting_table((3,))
        times = [f"2026-05-0{day}T12:00:0{t}" for t in range(4)]
        block = write(tmp_path / f"logs/day-{day}.csv", {**columns, "time": times})
    folder = {"path": str(tmp_path / "logs"), "held_out_path": str(tmp_path / "logs"), "episode_column": None}
    assert [episode.span for episode in episodes({**block, **folder})] == [(0.0, 3.0), (86400.0, 86403.0)]


def test_a_group_is_constant_in_an_episode(tmp_path: Path) -> None:
    columns = {**weather_log(), "machine": ["a"] * 6 + ["b"] * 6}
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), group_column="machine")
    assert "line 8: `machine` changes from a to b inside an episode; start a new episode there" in message


def alternating(columns: Columns, order: list[int]) -> Columns:
    return {name: [cells[i] for i in order] for name, cells in columns.items()}


def test_episodes_that_alternate_are_sorted(tmp_path: Path) -> None:
    columns = counting_table((3, 3))
    expected = ingest(tmp_path / "d", write(tmp_path / "sorted.csv", columns)).spec.digest
    for name, suffix in {"e": "csv", "f": "parquet"}.items():
        block = write(tmp_path / f"log.{suffix}", alternating(columns, [0, 4, 1, 5, 2, 6, 3, 7]))
        dataset = ingest(tmp_path / name, block)
        assert dataset.spec.digest == expected
        warning = f"rows of different episodes alternate in log.{suffix}: sorted by `episode`"
        assert any(warning in line for line in dataset.spec.warnings)
        assert ingest(tmp_path / f"{name}2", block, time_column=None).spec.digest == expected


def test_a_large_file_that_alternates_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.sources.table_reader.SORTED_BYTES", 1)
    block = write(tmp_path / "log.csv", alternating(counting_table((3, 3)), [0, 4, 1, 5, 2, 6, 3, 7]))
    assert "line 4: episode `0` of `episode` continues after other episodes; sort the file" in refusal(tmp_path, block)


def test_rows_that_take_too_much_memory_are_not_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ingest.sources.table_reader.SORTED_MEMORY", 100)
    block = write(tmp_path / "log.csv", alternating(counting_table((3, 3)), [0, 4, 1, 5, 2, 6, 3, 7]))
    assert "log.csv: its episodes alternate; sort the file by `episode`" in refusal(tmp_path, block)


def test_names_of_episodes_that_start_again_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for part in (1, 2):
        block = write(tmp_path / f"logs/part-{part}.csv", {**counting_table((3, 4)), "x": [float(part)] * 9})
    folder = {"path": str(tmp_path / "logs"), "held_out_path": str(tmp_path / "logs")}
    dataset = ingest(tmp_path / "d", {**block, **folder})
    assert dataset.episode_lengths("all").tolist() == [3, 4, 3, 4]
    warning = "2 values of `episode` stand in several files: they count as different episodes"
    assert any(warning in line for line in dataset.spec.warnings)


def test_field_log_of_alternating_episodes(shared_data: Path) -> None:
    folder = shared_data / "field-logs" / "17-pandas-parquet"
    columns = {"obs_columns": ["temp"], "action_columns": ["action"], "terminal_column": None}
    block = {"source": "table", **columns, "time_column": "timestamp"}
    read = [
        episodes({**block, "path": str(folder / file), "held_out_path": str(folder / file)})
        for file in ("interleaved.csv", "cat.parquet")
    ]
    assert [len(log) for log in read] == [12, 12]
    for one, other in zip(*read, strict=True):
        np.testing.assert_allclose(one.obs["state"], other.obs["state"])
