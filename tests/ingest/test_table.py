"""CSV and Parquet tables: what becomes of rows, columns and time."""

from pathlib import Path
from typing import Any

import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_examples import Columns, counting_table, ingest, refusal, write

from pipeline.ingest.sources.collect import CollectConfig, collect_minari
from pipeline.ingest.sources.minari import minari_root


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_final_observation_rows(suffix: str, tmp_path: Path) -> None:
    block = write(tmp_path / f"log.{suffix}", counting_table())
    dataset = ingest(tmp_path / "d", block, delimiter=",")
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 105, 106]
    np.testing.assert_allclose(dataset.action[:5, 0], [0, 0.1, 0.2, 0.3, 0], atol=1e-7)
    assert dataset.reward.tolist() == [0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 5, 0]
    assert np.flatnonzero(dataset.terminal).tolist() == [10]
    assert (dataset.spec.dropped, dataset.spec.obs_names) == (0, {"state": ["x"]})


def test_without_a_final_row_a_true_end_is_kept_and_another_last_step_dropped(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", counting_table((4, 6), final=False))
    dataset = ingest(tmp_path / "d", block, max_dropped_return=0.2)
    assert dataset.episode_lengths("all").tolist() == [3, 6]
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 100, 101, 102, 103, 104, 105, 105]
    assert dataset.reward.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 0]
    assert (dataset.spec.dropped, dataset.spec.terminals) == (1, 1)
    assert any("1 step is a true end without a next observation: kept" in w for w in dataset.spec.warnings)
    assert any("1 step at the end of an episode" in w and "14.3 %" in w for w in dataset.spec.warnings)


def test_a_mark_on_the_final_observation_counts_too(tmp_path: Path) -> None:
    columns = counting_table()
    columns["terminal"] = [0] * 11 + [1]
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.parquet", columns))
    assert np.flatnonzero(dataset.terminal).tolist() == [10]


def test_marks_that_include_time_limits(tmp_path: Path) -> None:
    columns = counting_table()
    columns["terminal"] = columns["late"] = [int(row in (3, 10)) for row in range(12)]
    block = {**write(tmp_path / "log.csv", columns), "timeout_column": "late"}
    both = ingest(tmp_path / "both", block)
    assert both.spec.terminals == 2
    assert any("terminal_includes_timeouts" in warning for warning in both.spec.warnings)
    assert ingest(tmp_path / "option", block, terminal_includes_timeouts=True).spec.terminals == 0
    assert ingest(tmp_path / "none", block, terminal_column=None).spec.terminals == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_text_becomes_one_feature_a_category(suffix: str, tmp_path: Path) -> None:
    columns = {**counting_table(), "gear": ["low", "high", "low", "park"] * 3, "lit": [True, False] * 6}
    dataset = ingest(tmp_path / "d", write(tmp_path / f"log.{suffix}", columns), obs_columns=["gear", "x", "lit"])
    assert dataset.spec.obs_names == {"state": ["gear=high", "gear=low", "gear=park", "x", "lit"]}
    assert dataset.obs["state"][:3].tolist() == [[0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [0, 1, 0, 2, 1]]


def test_numbers_become_categories_on_request(tmp_path: Path) -> None:
    columns = {**counting_table(), "gear": [1, 2, 1, 3] * 3}
    block = write(tmp_path / "log.csv", columns)
    dataset = ingest(tmp_path / "d", block, obs_columns=["gear"], categorical_columns=["gear"])
    assert dataset.spec.obs_names == {"state": ["gear=1", "gear=2", "gear=3"]}


def test_columns_of_lists(tmp_path: Path) -> None:
    columns = counting_table()
    columns["pose"] = [[x, -x] for x in columns["x"]]
    columns["u"] = [None if u is None else [u] for u in columns["u"]]
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.parquet", columns), obs_columns=["pose"])
    assert dataset.spec.obs_names == {"state": ["pose[0]", "pose[1]"]}
    assert dataset.obs["state"][1].tolist() == [1, -1]
    assert dataset.episode_lengths("all").tolist() == [4, 6]


def test_a_folder_of_files_is_an_episode_a_file(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for e, steps in enumerate((4, 6)):
        columns = counting_table((steps,))
        del columns["episode"]
        block = write(tmp_path / f"logs/run-{e}.csv", columns)
    folder = {"path": str(tmp_path / "logs"), "held_out_path": str(tmp_path / "logs"), "episode_column": None}
    assert ingest(tmp_path / "d", {**block, **folder}).episode_lengths("all").tolist() == [4, 6]


def test_rows_are_sorted_by_time_within_an_episode(tmp_path: Path) -> None:
    columns = counting_table()
    shuffled = {name: [column[i] for i in (4, 2, 0, 1, 3, *range(5, 12))] for name, column in columns.items()}
    sorted_again = ingest(tmp_path / "d", write(tmp_path / "log.csv", shuffled))
    assert sorted_again.spec.digest == ingest(tmp_path / "e", write(tmp_path / "b.csv", columns)).spec.digest
    assert any("rows of 1 episode were sorted by `time`" in w for w in sorted_again.spec.warnings)


@pytest.mark.parametrize("zone", ["", "Z"])
def test_dates_are_times(zone: str, tmp_path: Path) -> None:
    columns = counting_table()
    columns["time"] = [f"2026-05-01T12:00:{int(t):02d}.{int(10 * (t % 1))}{zone}" for t in columns["time"]]
    block = write(tmp_path / "log.csv", columns)
    assert ingest(tmp_path / "d", block).episode_lengths("all").tolist() == [4, 6]
    assert ingest(tmp_path / "e", block, resample=1.0).episode_lengths("all").tolist() == [2, 3]


def changed(**columns: Any) -> Columns:
    return {name: column for name, column in {**counting_table(), **columns}.items() if column is not None}


def with_cell(name: str, row: int, value: Any) -> Columns:
    columns = counting_table()
    columns[name] = [value if i == row else cell for i, cell in enumerate(columns[name])]
    if isinstance(value, str):
        columns[name] = [None if cell is None else str(cell) for cell in columns[name]]
    return columns


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        (changed(reward=None, rewards=[0.0] * 12), {}, "no column `reward` (did you mean `rewards`?)"),
        ({}, {"obs_columns": ["xx"]}, "no column `xx` (did you mean `x`?); set `dataset.obs_columns`"),
        (with_cell("x", 2, "abc"), {}, 'line 4: column `x` holds numbers, but `abc` here; set `dataset.na_values: ["a'),
        (with_cell("reward", 7, "abc"), {}, 'line 9: column `reward`: `abc` is not a number; set `dataset.na_values'),
        (with_cell("x", 7, None), {}, "line 9: column `x`: empty; repair or remove the row"),
        (with_cell("x", 7, float("inf")), {}, "line 9: column `x`: inf; repair or remove the row"),
        (with_cell("reward", 1, None), {}, "line 3: column `reward`: empty"),
        (with_cell("u", 1, None), {}, "line 3: no action; only the last row of an episode may have none: fill it"),
        (with_cell("u", 5, 3.0), {}, "action[0, 0] = 3 lies outside the declared bounds [-1, 1]"),
        (with_cell("terminal", 1, 1), {}, "line 3: `terminal` is set, but the episode continues; start a new episode"),
        (with_cell("terminal", 1, 2), {}, "line 3: column `terminal` must hold only 0 and 1; repair it"),
        (with_cell("episode", 2, None), {}, "line 4: column `episode` is empty; fill it in every row"),
        (with_cell("time", 2, None), {}, "line 4: column `time`: no time; fill it in every row"),
        (with_cell("time", 2, 0.5), {}, "line 4: same time as line 3; remove one of the two rows"),
        (with_cell("time", 1, 0.6), {}, "line 3: `time` is 0.6 after the previous row, 0.5 elsewhere; repair it, or "
                                        "set `dataset.resample: 0.5`"),
        (with_cell("time", 4, 7.0), {"resample": 0.5, "gaps": "refuse"}, "line 6: `time` has a gap of 5.5, "
                                        "more than 1.5 steps of 0.5; set `dataset.gaps: split`"),
        (changed(episode=[0] * 3 + [1] * 5 + [0] * 4), {"time_column": None}, "line 10: episode `0` of `episode` "
                                        "continues after other episodes; use a unique value per episode"),
        (changed(episode=[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]), {}, "line 7: episode `0` of `episode` continues after "
                                        "other episodes; use a unique value per episode, since its time is earlier"),
        (changed(u=["left"] * 12), {}, "text (left); number its values, and set `dataset.action_kind: discrete`"),
        (changed(g=[f"id{i}" for i in range(12)] * 1), {"obs_columns": ["g", "time2"]}, "no column `time2`"),
    ],
)  # fmt: skip
def test_bad_tables(columns: Columns, options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns or counting_table()), **options)
    assert message.startswith(str(tmp_path / "log.csv"))
    assert expected in message


def test_too_many_categories(tmp_path: Path) -> None:
    columns = {**counting_table((70,)), "id": [f"id{i}" for i in range(71)]}
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), obs_columns=["id"])
    assert "column `id` has over 64 different values" in message


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"a,b\n1\n2,3,4\n", b"\xff\xfe\x00"])
def test_files_that_are_no_tables(suffix: str, content: bytes, tmp_path: Path) -> None:
    block = write(tmp_path / f"log.{suffix}", counting_table())
    Path(block["path"]).write_bytes(content)
    message = refusal(tmp_path, block)
    assert message.startswith(f"{block['path']}: ")
    assert any(text in message for text in ("empty, truncated or not", "2 names for 1 columns", "holds no rows"))


def test_a_header_alone_holds_no_rows(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", {name: column[:0] for name, column in counting_table().items()})
    assert "holds no rows" in refusal(tmp_path, block)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"obs_columns": []}, "obs_columns is empty"),
        ({"action_columns": ["x"]}, "columns ['x'] are named twice"),
        ({"resample": 0.0}, "`dataset.resample`: 0.0 must be above 0"),
        ({"time_column": None, "resample": 1.0}, "resample 1.0 needs `time_column`"),
        ({"categorical_columns": ["y"]}, "['y'] are not among obs_columns"),
        ({"path": "nowhere.csv"}, "nowhere.csv: not found; correct `dataset.path`"),
        ({"path": "README.md"}, "README.md: no table; name a file with .csv"),
    ],
)
def test_bad_options(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, write(tmp_path / "log.csv", counting_table()), **options)


def test_small_batches_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = write(tmp_path / "log.parquet", counting_table((4, 6, 5)))
    whole = ingest(tmp_path / "d", block).spec.digest
    monkeypatch.setattr("pipeline.ingest.sources.table_files.ROWS", 3)
    assert ingest(tmp_path / "e", block).spec.digest == whole


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pa.Table]:
    """A Minari dataset of Pendulum and the same logs as a table: float32, but for the rewards."""
    root = tmp_path_factory.mktemp("minari")
    dataset_id = collect_minari(CollectConfig("data/logs", "data/logs", episodes=4), root)
    with minari_root(root):
        logged = list(minari.load_dataset(dataset_id))
    columns: dict[str, list[np.ndarray]] = {}
    for episode in logged:
        steps = len(episode.rewards)
        cells = {f"obs{i}": episode.observations[:, i] for i in range(3)}
        cells["torque"] = np.append(episode.actions[:, 0], np.float32(np.nan))
        cells["reward"] = np.append(episode.rewards, np.nan)
        cells["terminal"] = np.append(episode.terminations, False)
        cells["episode"], cells["step"] = np.full(steps + 1, episode.id), np.arange(steps + 1)
        for name, column in cells.items():
            columns.setdefault(name, []).append(column)
    return (
        {"source": "minari", "path": str(root), "held_out_path": str(root), "dataset_id": dataset_id},
        pa.table({name: np.concatenate(parts) for name, parts in columns.items()}),
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_of_pendulum_equal_its_minari_dataset(
    suffix: str, pendulum: tuple[dict[str, Any], pa.Table], tmp_path: Path
) -> None:
    minari_block, table = pendulum
    file = tmp_path / f"log.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, file, row_group_size=300)
    else:
        cells = [[repr(value.item()) for value in table.column(name).to_numpy()] for name in table.column_names]
        lines = [table.column_names, *zip(*cells, strict=True)]
        file.write_text("\n".join(",".join(line) for line in lines))
    block = {"source": "table", "path": str(file), "held_out_path": str(file), "env_id": "Pendulum-v1",
             "obs_columns": ["obs0", "obs1", "obs2"], "action_columns": ["torque"], "time_column": "step"}  # fmt: skip
    expected, dataset = ingest(tmp_path / "minari", minari_block), ingest(tmp_path / "table", block)
    for name in ("action", "reward", "terminal", "offsets", "held_out"):
        assert getattr(dataset, name).tobytes() == getattr(expected, name).tobytes()
    assert dataset.obs["state"].tobytes() == expected.obs["state"].tobytes()
    assert dataset.spec.dropped == 0
