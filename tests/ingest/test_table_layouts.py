"""Rows of tables in other layouts: next states in the row, actions that stand late, and no reward."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_examples import of_reading
from table_examples import Columns, counting_table, ingest, refusal, write

from pipeline.ingest.ingest import ingest as ingest_all
from pipeline.ingest.sources import SOURCES
from pipeline.params import choose

NEXT = {"next_obs_columns": ["nx"]}


def sars(terminal: bool = True) -> Columns:
    """Two episodes of three rows (x, u, reward, nx), without a final row."""
    return {
        "episode": [0, 0, 0, 1, 1, 1],
        "x": [0.0, 1, 2, 10, 11, 12],
        "nx": [1.0, 2, 3, 11, 12, 13],
        "u": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "reward": [0.0, 0, 15, 0, 0, -15],
        "terminal": [0, 0, int(terminal), 0, 0, 0],
    }


def test_the_next_state_of_the_row_is_the_final_observation(tmp_path: Path) -> None:
    block = write(tmp_path / "log.csv", sars())
    dataset = ingest(tmp_path / "d", block, time_column=None, **NEXT)
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert dataset.episode_returns("all").tolist() == [15, -15]
    assert np.flatnonzero(dataset.terminal).tolist() == [2]
    assert dataset.spec.dropped == 0


def test_a_next_state_that_does_not_follow_splits_the_episode(tmp_path: Path) -> None:
    columns = {**sars(), "nx": [1.0, 7, 3, 11, 12, 13]}
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), time_column=None, **NEXT)
    assert dataset.episode_lengths("all").tolist() == [2, 1, 3]
    assert dataset.obs["state"][:5, 0].tolist() == [0, 1, 7, 2, 3]
    assert np.flatnonzero(dataset.terminal).tolist() == [3]
    assert any("1 row has a next observation that is not" in warning for warning in dataset.spec.warnings)


def test_an_empty_next_state_at_the_end(tmp_path: Path) -> None:
    columns = {**sars(), "nx": [1.0, 2, None, 11, 12, None], "reward": [1.0] * 6}
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), time_column=None, **NEXT)
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 2, 10, 11, 12]  # kept at the true end, dropped otherwise
    assert dataset.spec.dropped == 1


def test_a_next_state_that_is_half_empty_is_refused(tmp_path: Path) -> None:
    columns = {**sars(), "y": [0.0] * 6, "ny": [0.0] * 5 + [None]}
    both = {"obs_columns": ["x", "y"], "next_obs_columns": ["nx", "ny"], "time_column": None}
    assert "line 7: column `ny`: empty" in refusal(tmp_path, write(tmp_path / "log.csv", columns), **both)


def test_next_states_that_are_text(tmp_path: Path) -> None:
    gears = {"gear": ["a", "b", "a", "b", "b", "a"], "then": ["b", "a", "c", "b", "a", "a"]}
    block = write(tmp_path / "log.csv", {**sars(), **gears})
    dataset = ingest(tmp_path / "d", block, time_column=None, obs_columns=["gear"], next_obs_columns=["then"])
    assert dataset.spec.obs_names == {"state": ["gear=a", "gear=b", "gear=c"]}
    assert dataset.obs["state"][3].tolist() == [0, 0, 1]


def test_field_log_of_next_states(shared_data: Path, tmp_path: Path) -> None:
    file = str(shared_data / "field-logs" / "15-next-state-columns" / "sars.csv")
    block = {"source": "table", "path": file, "held_out_path": file, "terminal_column": "done"}
    columns = {"obs_columns": ["s0", "s1"], "action_columns": ["action"], "next_obs_columns": ["ns0", "ns1"]}
    dataset = ingest(tmp_path / "d", {**block, **columns})
    assert dataset.episode_lengths("all").tolist() == [25] * 12
    assert (dataset.spec.terminals, dataset.spec.dropped, of_reading(dataset)[:-1]) == (12, 0, [])


def late(columns: Columns, name: str) -> Columns:
    """The cells of one column, each a row lower in its episode; the first is empty, as after a reset."""
    moved: list[Any] = []
    for episode in (0, 1):
        cells = [cell for cell, e in zip(columns[name], columns["episode"], strict=True) if e == episode]
        moved += [None, *cells[:-1]]
    return {**columns, name: moved}


def test_actions_and_rewards_that_stand_one_row_late(tmp_path: Path) -> None:
    columns = counting_table()
    expected = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns)).spec.digest
    block = write(tmp_path / "late.csv", late(columns, "u"))
    assert ingest(tmp_path / "e", block, action_offset=1).spec.digest == expected
    both = write(tmp_path / "both.csv", late(late(columns, "u"), "reward"))
    assert ingest(tmp_path / "f", both, action_offset=1, reward_offset=1).spec.digest == expected


def test_late_actions_do_not_come_from_the_next_episode(tmp_path: Path) -> None:
    columns = {
        "x": [0.0, 1, 2, 10, 11, 12],
        "u": [0.0, 0.1, 0.2, 0.0, 0.3, 0.4],  # 0 after a reset
        "reward": [0.0, 1, 2, 0, 3, 4],
        "terminal": [0, 0, 1, 0, 0, 1],
    }
    options = {"episode_column": None, "time_column": None, "action_offset": 1, "reward_offset": 1}
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns), **options)
    assert dataset.obs["state"][:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert dataset.reward.tolist() == [1, 2, 0, 3, 4, 0]
    np.testing.assert_allclose(dataset.action[:2, 0], [0.1, 0.2], atol=1e-7)
    assert dataset.spec.terminals == 2


def test_an_action_that_stands_late_is_recognized(tmp_path: Path) -> None:
    block = write(tmp_path / "late.csv", late(counting_table(), "u"))
    message = refusal(tmp_path, block)
    assert "line 2: the first row of an episode has no action; set `dataset.action_offset: 1` if a row" in message
    dataset = ingest(tmp_path / "d", block, missing="last", terminal_column=None)
    assert any("2 episodes start with a row without an action: set" in line for line in dataset.spec.warnings)


def test_field_log_of_late_actions(shared_data: Path, tmp_path: Path) -> None:
    folder = str(shared_data / "field-logs" / "12-sinergym-monitor" / "old")
    columns = {
        "obs_columns": ["outdoor_temperature", "air_temperature"],
        "action_columns": ["heating_setpoint", "cooling_setpoint"],
        "terminal_column": "done",
        "episode_column": None,
    }
    block = {"source": "table", "path": folder, "held_out_path": folder, **columns}
    dataset = ingest(tmp_path / "d", block, action_offset=1, reward_offset=1)
    assert dataset.episode_lengths("all").tolist() == [40] * 12
    steps = dataset.steps("all")
    np.testing.assert_allclose(dataset.reward[steps], -abs(dataset.obs["state"][steps + 1, 1]), atol=1e-6)
    assert (dataset.spec.terminals, dataset.spec.dropped) == (12, 0)


def test_a_reward_in_the_last_row_without_an_action_is_not_lost_in_silence(tmp_path: Path) -> None:
    columns = {**counting_table(), "reward": [0.0] * 4 + [15.0] + [0.0] * 6 + [15.0]}
    block = write(tmp_path / "log.csv", columns)
    message = refusal(tmp_path, block)
    assert "2 last rows without an action hold a reward, 100 % of the summed absolute reward" in message
    assert "`dataset.reward_offset: 1`" in message
    assert ingest(tmp_path / "d", block, reward_offset=1).episode_returns("all").tolist() == [15, 15]


def test_an_episode_without_a_step_is_left_out(tmp_path: Path) -> None:
    columns = counting_table((4, 6, 0))  # the third one is a final row alone
    dataset = ingest(tmp_path / "d", write(tmp_path / "log.csv", columns))
    assert dataset.episode_lengths("all").tolist() == [4, 6]
    assert any("1 episode holds no step" in warning for warning in dataset.spec.warnings)


def test_one_row_an_episode(tmp_path: Path) -> None:
    columns = {**sars(terminal=False), "episode": [0, 1, 2, 3, 4, 5]}
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), time_column=None)
    assert "no step is left; each episode is one row: name another `dataset.episode_column`" in message


@pytest.mark.parametrize("final", [True, False])
def test_marks_tell_episodes_apart_where_no_column_does(final: bool, tmp_path: Path) -> None:
    columns = {**counting_table((4, 6, 5), final), "late": [0] * (18 if final else 15)}
    for e, last in enumerate([3, 10, 16] if final else [3, 9, 14]):
        columns["late"][last], columns["terminal"][last] = int(e % 2 == 0), e % 2
    del columns["episode"], columns["time"]
    block = write(tmp_path / "log.csv", columns)
    options = {"episode_column": None, "time_column": None, "timeout_column": "late", "max_dropped_return": 0.5}
    dataset = ingest(tmp_path / "d", block, **options)
    assert dataset.episode_lengths("all").tolist() == ([4, 6, 5] if final else [3, 6, 4])
    assert dataset.obs["state"][dataset.offsets[:-1], 0].tolist() == [0, 100, 200]
    assert dataset.spec.terminals == 1
    assert any("2 ends are marked inside a file" in warning for warning in dataset.spec.warnings)


def test_no_reward_needs_a_transform(tmp_path: Path) -> None:
    columns = {name: cells for name, cells in counting_table().items() if name != "reward"}
    message = refusal(tmp_path, write(tmp_path / "log.csv", columns), reward_column=None)
    assert "reward_column is null, so the log has no reward: write a function that returns" in message
    assert "`transform: mine:NAME`" in message


def test_a_transform_gives_the_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {name: cells for name, cells in counting_table().items() if name != "reward"}
    block = write(tmp_path / "log.csv", columns)
    (tmp_path / "data/transforms").mkdir(parents=True)
    code = "def reward(episode):\n    return {'reward': -episode['obs']['state'][1:, 0]}\n"
    (tmp_path / "data/transforms/mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    source, config = choose(SOURCES, {**block, "reward_column": None, "transform": "mine:reward"}, "dataset", "source")
    dataset = ingest_all(source(config).read(), config, tmp_path / "d").dataset
    assert dataset.reward[:4].tolist() == [-1, -2, -3, -4]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"next_obs_columns": ["nx", "u"]}, "columns ['u'] are named twice"),
        ({"next_obs_columns": ["nx", "y"]}, "names 2 columns, but obs_columns has 1"),
        ({"next_obs_columns": ["ny"]}, "set `dataset.next_obs_columns` to its name"),
        ({"action_offset": -1}, "`dataset.action_offset`"),
    ],
)
def test_bad_options_of_layouts(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert expected in refusal(tmp_path, write(tmp_path / "log.csv", sars()), time_column=None, **options)
