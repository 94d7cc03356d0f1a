"""The true error of a model by known equations, and what penalties know of it by region."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import rc_context

from pipeline.assessment.true_error import by_equations, by_region, densest, grid
from pipeline.reporting.figures.scales import log_ticks
from pipeline.reporting.figures.style import RC
from pipeline.reporting.figures.true_error import Surface, true_error_figure
from pipeline.types import Observation


def test_a_grid_varies_its_axes_and_leaves_the_rest_at_the_median() -> None:
    logged = np.array([[1.0, 5.0, 0.0], [2.0, 6.0, 0.0], [9.0, 7.0, 3.0]])
    found = grid(logged, {0: np.array([-1.0, 1.0]), 2: np.array([10.0, 20.0, 30.0])})
    assert found.tolist() == [[a, 6, b] for a in (-1, 1) for b in (10, 20, 30)]


def test_the_densest_cells_are_the_fewest_that_hold_a_share() -> None:
    points = np.repeat([[0.5, 0.5], [0.5, 1.5], [1.5, 0.5], [9.0, 9.0]], [5, 3, 1, 1], axis=0)
    edges = (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))
    assert densest(points, edges, 0.5).tolist() == [[True, False], [False, False]]
    assert densest(points, edges, 0.8).tolist() == [[True, True], [False, False]]
    assert densest(points, edges, 0.9).tolist() == [[True, True], [True, False]]


def test_a_penalty_may_know_one_region_and_not_the_other() -> None:
    error = np.arange(1.0, 9.0)
    inside = error < 5
    found = by_region({"true_error": error, "penalty_near": np.where(inside, error, -error)}, inside)
    rank = {region: round(of["near"].spearman or 0.0, 6) for region, of in found.items()}
    # Ranks 5 6 7 8 4 3 2 1: squared differences 16 x 4 + 1 + 9 + 25 + 49 = 148, so 1 - 6 x 148 / (8 x 63) = -16/21.
    assert rank == {"inside": 1.0, "outside": -1.0, "overall": round(-16 / 21, 6)}


class Halving:
    """Its state is half the observation."""

    stateful, action_dim = False, 1

    def initial(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 2)

    def observe(self, state: Any, action: Any, obs: Observation, first: Any) -> torch.Tensor:
        return obs["seen"] / 2


def test_transitions_follow_the_equations_in_the_states_of_the_model() -> None:
    obs, action = np.array([[2.0, 4.0]], np.float32), np.array([[3.0]], np.float32)
    data = by_equations(Halving(), "seen", obs, action, lambda o, a: (o + a, o[:, 0] * a[:, 0], o[:, 1] > 3))
    assert (data.state.tolist(), data.next_state.tolist()) == ([[1.0, 2.0]], [[2.5, 3.5]])
    assert (data.reward.tolist(), data.terminal.tolist(), data.action.tolist()) == ([6.0], [1.0], [[3.0]])


def test_maps_are_means_over_actions_and_scatters_show_both_regions() -> None:
    error = np.random.default_rng(0).uniform(1, 2, (3, 4, 5))
    inside = np.arange(20).reshape(4, 5) < 7
    surface = Surface(np.arange(4.0), np.arange(5.0), ("angle", "spin"), error, {"std": 2 * error}, inside)
    with rc_context(RC):
        figure = true_error_figure("title", surface, ["std"], {"std": "1.00 inside"})
    true, std, _, scatter = figure.axes[:4]
    for axes, factor in ((true, 1), (std, 2)):
        np.testing.assert_allclose(np.ravel(axes.collections[0].get_array()), factor * error.mean(0).T.ravel())
    assert [len(line.get_xdata()) for line in scatter.lines] == [3 * 13, 3 * 7]
    assert (scatter.get_title(), true.get_ylabel()) == ("1.00 inside", "spin")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.003, 1.2, [0.01, 0.1, 1]),
        (0.015, 0.4, [0.02, 0.05, 0.1, 0.2]),
        (0.11, 0.9, [0.2, 0.5]),
        (0.12, 0.45, [0.2, 0.4]),  # of 1, 2, 5 there is one alone
        (0.213, 0.234, [0.22, 0.23]),
        (1e-9, 10.0, [1e-9, 1e-7, 1e-5, 1e-3, 1e-1, 10]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_labels_of_short_ranges_do_not_touch() -> None:
    error = np.random.default_rng(0).uniform(1, 2, (3, 4, 5))
    short = {"short": 0.213 + 0.021 * (error - 1), "wide": 0.01**error}
    surface = Surface(np.arange(4.0), np.arange(5.0), ("angle", "spin"), error, short, error[0] < 1.5)
    with rc_context(RC):
        figure = true_error_figure("title", surface, list(short), dict.fromkeys(short, ""))
        figure.draw_without_rendering()
        for axes in figure.axes[:]:
            labels = [t.get_window_extent() for t in axes.get_xticklabels() if t.get_text() and t.get_visible()]
            bounds = axes.get_window_extent()
            shown = sorted((b.x0, b.x1) for b in labels if bounds.x0 <= (b.x0 + b.x1) / 2 <= bounds.x1)
            assert all(left[1] < right[0] for left, right in itertools.pairwise(shown))
