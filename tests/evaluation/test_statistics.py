from dataclasses import asdict

import numpy as np
import pytest

from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.scores import normalize
from pipeline.evaluation.statistics import bootstrap_ci, iqm, resample, summary


def test_scores_are_per_episode_and_hand_checked() -> None:
    assert normalize([[30.60, 849.51]], 30.60, 849.51) == pytest.approx(np.array([[0.0, 100.0]]))
    assert normalize([494.5], 30.60, 849.51) == pytest.approx([56.648], abs=1e-3)  # NeoRL-2 publishes 56.6


def test_scores_need_both_references_in_order() -> None:
    assert normalize([1.0], None, 5.0) is None
    assert normalize([1.0], 0.0, None) is None
    with pytest.raises(ValueError, match="ref_max_score"):
        normalize([1.0], 5.0, 5.0)


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 1000.0]]) == 3.5  # of 2, 3, 4, 5


def test_resampling_keeps_episodes_with_their_seed() -> None:
    values = np.array([[0.0, 1.0], [10.0, 11.0]])
    drawn = resample(values, 500, np.random.default_rng(0)).reshape(500, 2, 2)
    assert set(np.unique(drawn)) == {0.0, 1.0, 10.0, 11.0}
    assert ((drawn >= 10).all(2) | (drawn < 10).all(2)).all()  # a row never mixes two seeds
    assert 0.4 < (drawn >= 10).mean() < 0.6


def test_interval_of_one_seed_matches_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=(1, 400))
    low, high = bootstrap_ci(values, "mean", 4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_seeds_that_disagree_widen_the_interval() -> None:
    noise = np.random.default_rng(2).normal(size=(3, 100))
    agree, disagree = (bootstrap_ci(noise + spread, "mean") for spread in (0.0, np.array([[-5.0], [0.0], [5.0]])))
    assert disagree[1] - disagree[0] > 10 * (agree[1] - agree[0])


def test_intervals_are_seeded_and_need_no_single_huge_array(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(2, 50))
    whole = bootstrap_ci(values, "iqm", 300)
    assert whole == bootstrap_ci(values, "iqm", 300) != bootstrap_ci(values, "iqm", 300, seed=1)
    monkeypatch.setattr("pipeline.evaluation.statistics.DRAWS_AT_ONCE", 1000)
    assert bootstrap_ci(values, "iqm", 300) == pytest.approx(whole, abs=0.1)


def test_summary_without_references_has_raw_returns_only() -> None:
    result = summary([[1.0, 3.0]], None, None)
    assert (result.mean, result.mean_ci95, result.iqm, result.iqm_ci95) == (None, None, None, None)
    assert result.return_mean == 2.0
    assert (result.episodes, result.seeds) == (2, 1)
    assert result.return_mean_ci95 == (1.0, 3.0)


def test_summary_on_a_scale() -> None:
    result = summary([[0.0, 10.0, 20.0, 30.0], [0.0, 10.0, 20.0, 30.0]], 0.0, 200.0)
    assert result.mean == result.iqm == 7.5
    assert result.return_mean == 15.0
    assert result.iqm_ci95 is not None
    assert result.iqm_ci95[0] < 7.5 < result.iqm_ci95[1]
    assert (result.episodes, result.seeds) == (8, 2)


def test_every_interval_contains_the_number_that_it_is_named_after() -> None:
    """Most episodes score about 57 and a few fail: the interval of the interquartile mean leaves the mean out."""
    rng = np.random.default_rng(4)
    scores = np.where(rng.random((1, 400)) < 0.05, 20.0, 57.0) + rng.normal(size=(1, 400))
    result = asdict(summary(scores, 0.0, 100.0))
    named = {key: result[key.removesuffix("_ci95")] for key in result if key.endswith("_ci95")}
    assert set(named) == {"mean_ci95", "iqm_ci95", "return_mean_ci95"}
    assert all(result[key][0] <= value <= result[key][1] for key, value in named.items())
    assert not result["iqm_ci95"][0] <= result["mean"] <= result["iqm_ci95"][1]
    assert result["mean_ci95"] == pytest.approx(result["return_mean_ci95"])  # the scale maps 100 to 100


def test_config_refuses_nothing_to_do() -> None:
    with pytest.raises(ValueError, match=r"episodes\n.*greater than or equal to 1"):
        EvaluationConfig(episodes=0)
