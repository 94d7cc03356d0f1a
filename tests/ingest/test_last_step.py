"""The last step of an episode without a next observation."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, Remarks
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose


def rows(rewards: list[float], terminated: bool) -> Episode:
    """An episode with as many observations as steps."""
    steps = len(rewards)
    obs, action = np.arange(float(steps))[:, None], np.ones((steps, 1))
    return Episode({"state": obs}, action, np.array(rewards), terminated, cost=np.arange(float(steps))[:, None])


def test_a_true_end_is_kept_with_its_last_observation_repeated() -> None:
    last_steps, remarks = LastSteps("log", 0.01, "name a column"), Remarks()
    episode = last_steps.close(rows([0.0, 0.0, 15.0], terminated=True))
    assert episode is not None
    assert episode.obs["state"][:, 0].tolist() == [0, 1, 2, 2]
    assert (episode.reward.tolist(), episode.terminated) == ([0, 0, 15], True)
    assert last_steps.close(rows([1.0], terminated=True)) is not None
    last_steps.report(remarks)
    assert remarks.dropped == 0
    assert remarks.warnings == [
        "2 steps are true ends without a next observation: kept, with the last observation repeated"
    ]


def test_another_last_step_is_dropped_and_its_rewards_are_counted() -> None:
    last_steps, remarks = LastSteps("log", 0.3, "name a column"), Remarks()
    episode = last_steps.close(rows([1.0, 1.0, -1.0], terminated=False))
    assert episode is not None
    assert [len(array) for array in (episode.obs["state"], episode.action, episode.reward)] == [3, 2, 2]
    assert episode.cost is not None
    assert episode.cost[:, 0].tolist() == [0, 1]
    assert last_steps.close(rows([1.0], terminated=False)) is None
    assert last_steps.complete(rows([4.0], terminated=False)).reward.tolist() == [4]
    last_steps.report(remarks)
    assert remarks.dropped == 2
    assert "2 steps" in remarks.warnings[0]
    assert "25 % of the summed absolute reward" in remarks.warnings[0]


def test_a_log_whose_rewards_stand_on_last_steps_is_refused() -> None:
    last_steps = LastSteps("log.csv", 0.01, "name the true ends in `dataset.terminal_column`")
    for _ in range(3):
        last_steps.close(rows([0.0] * 9 + [1.0], terminated=False))
    with pytest.raises(ValueError) as caught:
        last_steps.report(Remarks())
    message = str(caught.value)
    assert message.startswith("log.csv: 3 steps at the end of an episode")
    assert "100 % of the summed absolute reward" in message
    assert message.endswith("or set `dataset.max_dropped_return` to 1")


def test_even_rewards_are_dropped_without_a_refusal() -> None:
    last_steps, remarks = LastSteps("log", 0.01, "name a column"), Remarks()
    last_steps.close(rows([-1.0] * 10, terminated=False))  # 10 % of the rewards, and of the steps
    last_steps.report(remarks)
    assert "10 % of the summed absolute reward" in remarks.warnings[0]


def sepsis(shared_data: Path, folder: Path, terminal: str | None) -> PreparedDataset:
    file = str(shared_data / "field-logs" / "03-sepsis-terminal-reward" / "sepsis_final.csv")
    columns = {"obs_columns": ["o:HR", "o:MeanBP", "o:mechvent"], "action_columns": ["a:action"]}
    more = {"reward_column": "r:reward", "terminal_column": terminal, "episode_column": "traj"}
    block = {"source": "table", "path": file, "held_out_path": file, "action_kind": "discrete", **columns, **more}
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", 0.1, 0)


def test_rewards_on_the_last_row_of_a_stay_survive(shared_data: Path, tmp_path: Path) -> None:
    dataset = sepsis(shared_data, tmp_path / "d", "done")
    assert (dataset.spec.terminals, dataset.spec.dropped) == (30, 0)
    returns = dataset.episode_returns("all")
    assert set(returns.tolist()) == {-1.0, 1.0}
    with pytest.raises(ValueError, match=r"30 steps .* 100 % of the summed absolute reward; .*terminal_column"):
        sepsis(shared_data, tmp_path / "e", None)


def test_a_dense_reward_that_ends_high_is_no_sparse_one() -> None:
    """One long episode whose last step holds somewhat more than its share; short episodes with all of it at the end."""
    dense, sparse = (LastSteps("log", 0.01, "name the ends") for _ in range(2))
    dense.count(np.r_[np.ones(299), 3.5])
    dense.drop(np.array([3.5]))
    dense.report(Remarks())
    for _ in range(100):
        sparse.count(np.array([0.0, 0.0, 1.0]))
        sparse.drop(np.array([1.0]))
    with pytest.raises(ValueError, match=r"100 steps .* 100 % of the summed absolute reward"):
        sparse.report(Remarks())
