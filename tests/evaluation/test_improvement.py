"""The probability of improvement, against cases computed by hand and the Mann-Whitney statistic of scipy."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from pipeline.evaluation.improvement import improvement_ci, probability_of_improvement


def test_pairs_are_counted_and_ties_count_half() -> None:
    # 1 loses to both; 3 beats 2 and ties with 3
    assert probability_of_improvement([[1, 3]], [[2, 3]]) == pytest.approx(1.5 / 4)
    assert probability_of_improvement([[2, 3]], [[1, 3]]) == pytest.approx(2.5 / 4)
    assert probability_of_improvement([[1, 1], [1, 1]], [[1, 1]]) == 0.5
    assert probability_of_improvement([[2.0], [3.0]], [[1.0, 0.0]]) == 1.0


def test_it_is_the_mann_whitney_statistic_by_pair() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (3, 10)), rng.integers(0, 5, (2, 7))
    expected = mannwhitneyu(x.ravel(), y.ravel()).statistic / (x.size * y.size)
    assert probability_of_improvement(x, y) == pytest.approx(expected)


def test_interval_of_a_known_distribution() -> None:
    # Draws of two from {0, 1} are 00, 01, 10, 11; against 0.5 they give 0, 0.5, 0.5, 1 with chances 1/4, 1/2, 1/4.
    assert improvement_ci(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])) == (0.0, 1.0)
    assert improvement_ci(np.full((2, 3), 5.0), np.full((1, 4), 1.0)) == (1.0, 1.0)


def test_interval_draws_seeds_before_episodes() -> None:
    """A policy that wins with one of two seeds may win always or never; over episodes alone, about half of the time."""
    by_seed = np.array([[1.0] * 50, [0.0] * 50])
    reference = np.full((2, 50), 0.5)
    assert improvement_ci(by_seed, reference) == (0.0, 1.0)
    low, high = improvement_ci(by_seed.reshape(1, 100), reference)
    assert 0.35 < low < 0.5 < high < 0.65
