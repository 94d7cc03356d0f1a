"""Time in tables: resampling against numbers computed by hand, gaps, and units."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_examples import Columns, ingest, refusal, write

from pipeline.ingest.sources.table_time import grid_of

TIME = np.array([10.0, 10.4, 11.0, 13.1])
REWARD = np.array([1.0, 2.0, 4.0])  # of the rows but the last, which last 0.4, 0.6 and 2.1


def test_the_grid_holds_the_last_row() -> None:
    grid = grid_of(TIME, 1.0)
    assert grid.row.tolist() == [0, 2, 2, 2, 3]  # at 10, 11, 12, 13 and 14
    assert grid.counts.tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [0.4 * 1 + 0.6 * 2, 4, 4, 4]),
        ("sum", [1 + 2, 4 / 2.1, 4 / 2.1, 4 * 0.1 / 2.1]),
        ("last", [2, 4, 4, 4]),
    ],
)
def test_rewards_of_a_step(how: str, expected: list[float]) -> None:
    grid = grid_of(TIME, 1.0)
    np.testing.assert_allclose(grid.rewards(REWARD, how), expected)
    twice = grid.rewards(np.stack([REWARD, 2 * REWARD], axis=1), how)
    np.testing.assert_allclose(twice, np.stack([expected, 2 * np.array(expected)], axis=1))


@pytest.mark.parametrize("how", ["mean", "sum", "last"])
def test_an_even_log_stays_as_it_is(how: str) -> None:
    reward = np.random.default_rng(0).normal(size=1000)
    grid = grid_of(3600.0 + 0.1 * np.arange(1001), 0.1)
    assert grid.row.tolist() == list(range(1001))
    np.testing.assert_allclose(grid.rewards(reward, how), reward, atol=1e-10)


def kpi_log(times: list[float], rewards: list[float | None] | None = None) -> Columns:
    """One episode a value of ``run``: x counts rows, the reward is -4 unless given."""
    rows = len(times)
    return {
        "episode": [0] * rows + [1] * 4,
        "time": [*times, 0.0, 60.0, 120.0, 180.0],
        "x": [float(t) for t in range(rows + 4)],
        "u": [0.5] * (rows + 4),
        "reward": [*(rewards or [-4.0] * rows), *[-4.0] * 4],
        "terminal": [0] * (rows + 4),
    }


def rewards_of(dataset: Any) -> list[float]:
    return np.round(dataset.reward[dataset.steps("all")].astype(float), 6).tolist()


def test_two_rows_in_one_interval_do_not_double_a_rate(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", kpi_log([0, 60, 90, 120, 180]))
    dataset = ingest(tmp_path / "d", block, resample=60.0)
    assert rewards_of(dataset) == [-4.0] * 6
    assert any("1 step with several rows" in warning for warning in dataset.spec.warnings)
    summed = ingest(tmp_path / "e", block, resample=60.0, reward_resample="sum")
    assert rewards_of(summed) == [-4, -8, -4, -4, -4, -4]
    assert any("set `dataset.reward_resample: mean`" in warning for warning in summed.spec.warnings)


def test_a_gap_splits_the_episode_and_gives_no_reward(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", kpi_log([0, 60, 120, 180, 3780, 3840, 3900]))
    for name, options in {"d": {}, "e": {"resample": 60.0}}.items():
        dataset = ingest(tmp_path / name, block, **options)
        assert dataset.episode_lengths("all").tolist() == [3, 2, 3]
        assert rewards_of(dataset) == [-4.0] * 8
        assert dataset.obs["state"][:7, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
        gap = "1 gap of more than 1.5 steps of 60, the longest of 3600: the episode is split there"
        assert any(gap in warning for warning in dataset.spec.warnings)


def test_gaps_are_held_on_request(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", kpi_log([0, 60, 120, 360, 420], [-4, -4, -6, -4, -4]))
    dataset = ingest(tmp_path / "d", block, resample=60.0, gaps="hold")
    assert dataset.episode_lengths("all").tolist() == [7, 3]
    assert rewards_of(dataset)[:7] == [-4, -4, -6, -6, -6, -6, -4]
    assert any("3 steps without a row, with the last values" in warning for warning in dataset.spec.warnings)
    assert any("the longest of 240: the last row is held" in warning for warning in dataset.spec.warnings)


def test_a_grid_that_fits_no_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^`dataset.resample: 1e-15` makes 2,000,000,\S+ steps .* longer step$"):
        grid_of(np.array([0.0, 2.0]), 1e-15)


def test_gaps_are_refused_on_request(tmp_path: Path) -> None:
    times = [f"2026-03-01 00:{minute:02d}:00" for minute in (0, 1, 2, 30, 31)]
    columns = {**kpi_log([0] * 5), "time": [*times, *times[:3], "2026-03-01 00:03:00"]}
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), gaps="refuse")
    assert "line 5: `time` has a gap of 1680 s, more than 1.5 steps of 60 s" in message


def test_a_log_with_rows_at_odd_times_is_not_cut_to_pieces(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).exponential(60.0, size=200)).tolist()
    message = refusal(tmp_path, write(tmp_path / "log.csv", kpi_log(times)), resample=60.0)
    assert "gaps of more than 1.5 steps of 60" in message
    assert "`dataset.gaps: hold`" in message


def test_the_step_of_a_jittered_log_is_a_short_number(tmp_path: Path) -> None:
    times = (0.01 * np.arange(50) + np.random.default_rng(1).uniform(-0.001, 0.001, 50)).tolist()
    assert "set `dataset.resample: 0.01`" in refusal(tmp_path, write(tmp_path / "log.csv", kpi_log(times)))


def test_the_end_of_a_resampled_episode(tmp_path: Path) -> None:
    columns = kpi_log([0, 60, 119, 180])
    columns["terminal"] = [0, 0, 0, 1, 0, 0, 0, 0]  # a true end without a final row
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), resample=60.0)
    assert dataset.episode_lengths("all").tolist() == [4, 3]
    assert dataset.obs["state"][:5, 0].tolist() == [0, 1, 2, 3, 3]
    assert np.flatnonzero(dataset.terminal).tolist() == [3]


def test_rows_at_the_same_time_on_a_grid(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", kpi_log([0, 60, 60, 120, 180], [-4, -100, -4, -4, -4]))
    dataset = ingest(tmp_path / "d", block, resample=60.0)
    assert dataset.obs["state"][:4, 0].tolist() == [0, 2, 3, 4]
    assert rewards_of(dataset) == [-4.0] * 6
    assert any("1 row has the same time as the next one" in warning for warning in dataset.spec.warnings)
    assert "same time as line 3" in refusal(tmp_path, block, resample=60.0, reward_resample="sum")
    assert "or `dataset.resample`, where the later row counts" in refusal(tmp_path, block)
    columns = kpi_log([0, 60, 60, 120, 180])
    columns["x"][2] = columns["x"][1]  # the same row twice
    assert ingest(tmp_path / "e", write(tmp_path / "log.csv", columns)).episode_lengths("all").tolist() == [3, 3]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gaps": "hold"}, "gaps: hold needs `resample`"),
        ({"gaps": "fill"}, "must be one of split, refuse, hold"),
        ({"reward_resample": "median"}, "must be one of mean, sum, last"),
        ({"max_gap": 0.5}, "`dataset.max_gap`"),
    ],
)
def test_bad_options_of_time(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, write(tmp_path / "log.csv", kpi_log([0, 60, 120])), **options)
