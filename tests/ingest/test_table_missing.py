"""Empty cells and values that are copied between measurements."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_examples import Columns, ingest, refusal, write

from pipeline.ingest.measured import unmeasured
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.table_measured import Survey, held
from pipeline.ingest.transform import apply_transform
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def lab_log(rows: int = 6, **cells: Any) -> Columns:
    """Two episodes with the same rows: x counts them, ``lab`` is as given."""
    return {
        "episode": [0] * rows + [1] * rows,
        "x": [float(t) for t in range(rows)] * 2,
        "u": [0.5] * (rows - 1) + [None] + [0.4] * (rows - 1) + [None],
        "reward": [1.0] * (2 * rows),
        "terminal": [0] * (2 * rows),
        **{name: [*column, *column] for name, column in cells.items()},
    }


def options(**more: Any) -> dict[str, Any]:
    return {"time_column": None, "obs_columns": ["x", "lab"], **more}


LAB = [None, None, 7.0, None, None, 9.0]


def test_empty_cells_are_refused_with_the_option_that_mends_it(tmp_path: Path) -> None:
    message = refusal(tmp_path, write(tmp_path / "log.csv", lab_log(lab=LAB)), **options())
    assert "line 2: column `lab`: empty; repair or remove the row, or set `dataset.missing` to last or mask" in message


def test_the_last_value_is_held_and_rows_before_the_first_are_left_out(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", lab_log(lab=LAB))
    dataset = ingest(tmp_path / "d", block, **options(missing="last"))
    assert dataset.obs["state"][:4].tolist() == [[2, 7], [3, 7], [4, 7], [5, 9]]
    assert dataset.spec.obs_names == {"state": ["x", "lab"]}
    assert any("`lab` 66.7 %" in warning for warning in dataset.spec.warnings)
    assert any("4 rows at the start of an episode" in warning for warning in dataset.spec.warnings)


def test_a_held_value_may_be_from_a_row_that_is_left_out(tmp_path: Path) -> None:
    columns = lab_log(lab=[4.0, None, None, None, 5.0, None], gas=[None, None, 7.0, None, None, None])
    block = write(tmp_path / "log.csv", columns)
    dataset = ingest(tmp_path / "d", block, time_column=None, obs_columns=["lab", "gas"], missing="last")
    assert dataset.obs["state"][:4].tolist() == [[4, 7], [4, 7], [5, 7], [5, 7]]


def test_a_column_without_any_value_is_named(tmp_path: Path) -> None:
    columns = lab_log(lab=LAB)
    columns["lab"][6:] = [None] * 6
    with_other = {**columns, "episode": [*columns["episode"], *[2] * 6]}
    for name, cells in columns.items():
        if name != "episode":
            with_other[name] = [*cells, *cells[:6]]
    with_other["x"][12:] = [7.0] * 6
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", with_other), **options(missing="last"))
    assert dataset.spec.episodes == 2
    assert any("`lab` has no value in 1 episode: left out" in warning for warning in dataset.spec.warnings)
    columns["lab"] = [None] * 11 + [1.0]
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), **options(missing="last"))
    assert "no step is left; log.csv: empty cells hold" in message
    assert "`lab` has no value in 1 episode" in message


def test_a_mask_tells_what_was_measured_and_how_long_ago(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", lab_log(lab=LAB))
    dataset = ingest(tmp_path / "d", block, **options(missing="mask"))
    spec = dataset.spec
    assert spec.obs_names == {"state": ["x", "lab", "lab measured", "lab age"]}  # x has no empty cell
    assert dataset.obs["state"][:6].tolist() == [
        [0, 8, 0, 0],  # 8 is the mean of the measured values
        [1, 8, 0, 1],
        [2, 7, 1, 0],
        [3, 7, 0, 1],
        [4, 7, 0, 2],
        [5, 9, 1, 0],
    ]
    assert spec.exogenous == {"state": [2, 3]}
    assert spec.flags == {"state": {1: 2}}


def test_text_has_one_flag_for_all_its_categories(tmp_path: Path) -> None:
    block = write(tmp_path / "log.parquet", lab_log(lab=["a", None, "b", None, "a", "a"]))
    dataset = ingest(tmp_path / "d", block, **options(missing="mask"))
    assert dataset.spec.obs_names == {"state": ["x", "lab=a", "lab=b", "lab measured", "lab age"]}
    assert dataset.obs["state"][:3].tolist() == [[0, 1, 0, 1, 0], [1, 1, 0, 0, 1], [2, 0, 1, 1, 0]]
    assert dataset.spec.flags == {"state": {1: 3, 2: 3}}


def test_an_empty_action_or_reward_splits_the_episode(tmp_path: Path) -> None:
    columns = lab_log(8, lab=[1.0] * 8)
    columns["u"][2] = None
    columns["reward"][5] = None
    block = write(tmp_path / "log.csv", columns)
    assert "line 4: no action" in refusal(tmp_path, block, **options())
    dataset = ingest(tmp_path / "d", block, **options(missing="last"))
    assert dataset.episode_lengths("all").tolist() == [2, 2, 1, 7]
    assert dataset.obs["state"][:8, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert any("2 rows without an action or reward: the episode is split" in w for w in dataset.spec.warnings)


def stale(every: int, phase: int, episodes: int = 3, rows: int = 20) -> Columns:
    """A value that is measured every few rows and copied in between."""
    rng = np.random.default_rng(0)
    lab: list[float] = []
    for _ in range(episodes):
        measured = rng.normal(size=rows)
        lab += [float(measured[(t - phase) // every]) for t in range(rows)]
    return {
        "episode": [e for e in range(episodes) for _ in range(rows)],
        "x": rng.normal(size=episodes * rows).tolist(),
        "u": [0.5, *[0.1] * (rows - 2), None] * episodes,
        "reward": [1.0] * (episodes * rows),
        "terminal": [0] * (episodes * rows),
        "lab": lab,
    }


@pytest.mark.parametrize("every", [4, "auto"])
def test_copied_values_are_no_measurements(every: int | str, tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", stale(4, phase=2))
    dataset = ingest(tmp_path / "d", block, **options(update_every={"lab": every}))
    assert dataset.spec.obs_names == {"state": ["x", "lab", "lab measured", "lab age"]}
    for first in dataset.offsets[:-1]:
        flag, age = dataset.obs["state"][first : first + 20, 2:].T
        assert np.flatnonzero(flag).tolist() == [2, 6, 10, 14, 18]
        assert age[:8].tolist() == [0, 1, 0, 1, 2, 3, 0, 1]
    assert dataset.spec.flags == {"state": {1: 2}}


def test_a_column_that_is_measured_in_every_row_gets_no_flag(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", stale(4, phase=2))
    dataset = ingest(tmp_path / "d", block, **options(update_every={"lab": "auto", "x": "auto"}))
    assert dataset.spec.obs_names == {"state": ["x", "lab", "lab measured", "lab age"]}


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ({180: 20, 360: 2}, 180),  # two equal measurements in a row
        ({1: 50}, 1),
        ({5: 3, 7: 4, 8: 3}, None),  # at odd times
        ({180: 2}, None),  # too few
        ({1: 6, 200: 5}, None),  # bursts
    ],
)
def test_periods(distances: dict[int, int], expected: int | None) -> None:
    assert Survey(np.zeros(1), distances=Counter(distances)).period() == expected


def test_held() -> None:
    nan = np.nan
    values = np.array([[nan, 1.0], [2.0, nan], [nan, nan], [3.0, 4.0]])
    np.testing.assert_array_equal(held(values), [[nan, 1], [2, 1], [2, 1], [3, 4]])


def test_flags_on_an_even_grid(tmp_path: Path) -> None:
    columns = lab_log(lab=[1.0, None, None, 4.0, None, None])
    columns["time"] = [0.0, 5.0, 10.0, 15.0, 20.0, 30.0] * 2
    more = {"time_column": "time", "missing": "mask", "resample": 10.0}
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), **options(**more))
    assert dataset.obs["state"][:4].tolist() == [[0, 1, 1, 0], [2, 1, 0, 1], [4, 4, 1, 0], [5, 4, 0, 1]]


def test_a_repeated_final_observation_was_not_measured(tmp_path: Path) -> None:
    columns = lab_log(lab=[1.0, None, 3.0, None, 5.0, 6.0])
    columns["u"] = [0.5] * 6 + [0.1] * 6
    columns["terminal"] = [0] * 5 + [1] + [0] * 6
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), **options(missing="mask"))
    assert dataset.obs["state"][5:7].tolist() == [[5, 6, 1, 0], [5, 6, 0, 1]]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"missing": "drop"}, "must be one of refuse, last, mask"),
        ({"update_every": {"lab": 0}}, "`dataset.update_every"),
        ({"update_every": {"lab": "daily"}}, "`dataset.update_every"),
        ({"update_every": {"pH": 3}}, "update_every: ['pH'] are not among obs_columns"),
    ],
)
def test_bad_options_of_missing_values(more: dict[str, Any], expected: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, write(tmp_path / "log.csv", lab_log(lab=[1.0] * 6)), **options(**more))
    assert expected in message


def test_the_card_shows_what_was_not_measured(tmp_path: Path) -> None:
    rows = 100
    lab: list[float | None] = [float(t) if t < 50 or t % 2 else None for t in range(rows)]
    columns = {
        "episode": [t // 10 for t in range(rows)],
        "x": [float(t) for t in range(rows)],
        "u": [None if t % 10 == 9 else t / rows for t in range(rows)],
        "reward": [1.0] * rows,
        "terminal": [0] * rows,
        "lab": lab,
    }
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), **options(missing="mask"))
    shares = unmeasured(dataset)
    assert {name: column.share for name, column in shares.items()} == {"lab": 0.25}
    assert shares["lab"].parts == [0.0] * 5 + [0.5] * 5


def test_a_transform_keeps_flags_unless_it_removes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = write(tmp_path / "log.csv", lab_log(lab=LAB))
    (tmp_path / "data/transforms").mkdir(parents=True)
    code = """
import numpy as np

def more(episode):
    state = episode["obs"]["state"]
    return {"obs": {"state": np.concatenate([state, state[:, :1] ** 2], axis=1)}}

def fewer(episode):
    return {"obs": {"state": episode["obs"]["state"][:, :2]}}
"""
    (tmp_path / "data/transforms/mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    source, config = choose(SOURCES, {**block, **options(missing="mask")}, "dataset", key="source")
    changed = apply_transform(source(config).read(), "mine:more")
    spec = write_dataset(tmp_path / "d", changed, "log", 0.5, 0).spec
    assert spec.obs_names == {"state": ["x", "lab", "lab measured", "lab age", "state[4]"]}
    assert (spec.flags, spec.exogenous) == ({"state": {1: 2}}, {"state": [2, 3]})
    with pytest.raises(ValueError, match=r"the function removes `lab measured`, which has a role in the model; keep"):
        apply_transform(source(config).read(), "mine:fewer")
