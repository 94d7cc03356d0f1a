from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from reporting_outputs import HORIZONS, KINDS, PENALTIES, write_outputs

from pipeline.policies.history import Plans, PolicyHistory
from pipeline.reporting.figures import checks as checks_figure
from pipeline.reporting.figures import data as data_figures
from pipeline.reporting.figures import model as model_figures
from pipeline.reporting.figures import plan as plan_figures
from pipeline.reporting.figures import policy as policy_figures
from pipeline.reporting.figures import trust as trust_figures
from pipeline.reporting.figures.alt_texts import ALT_TEXTS
from pipeline.reporting.figures.scales import log_counts
from pipeline.reporting.figures.style import RC, panels, seed_curves
from pipeline.reporting.page import FIGURES
from pipeline.reporting.results import Results, load
from pipeline.world_models.results import WorldModelHistory


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [3, 5])
    return load(root, [3, 5])


def lines(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in figure.axes[panel].lines}


def test_mean_curve_spans_what_all_seeds_cover() -> None:
    _figure, (axes,) = panels("title", 1)
    seed_curves(axes, [([0, 10, 20], [0, 10, 20]), ([10, 30], [30, 50])], "black", "mean")
    mean = next(line for line in axes.lines if line.get_label() == "mean")
    assert mean.get_xdata().tolist() == [10, 20]
    assert mean.get_ydata().tolist() == [20, 30]
    assert len(axes.lines) == 3


def test_every_figure_names_dataset_and_seeds(results: Results) -> None:
    drawn = [
        data_figures.scores_figure(results),
        model_figures.learning_figure(results),
        model_figures.open_loop_figure(results),
        model_figures.penalty_figure(results),
        policy_figures.policy_figure(results),
        policy_figures.baselines_figure(results),
        policy_figures.exploitation_figure(results),
    ]
    for figure in drawn:
        assert figure is not None
        assert "pendulum-mixed, seeds 3, 5" in figure.get_suptitle()


def test_a_criterion_that_is_no_training_loss_is_drawn_alone(results: Results) -> None:
    def with_criterion(history: WorldModelHistory) -> WorldModelHistory:
        epochs: list[Any] = history.epochs
        pairs = [(epoch, epoch["held_out_mse"]) for epoch in epochs]
        changed = [{**epoch, "held_out_geometric_mse": mse, "held_out_mse": mse[0]} for epoch, mse in pairs]
        return replace(history, criterion="geometric_mse", epochs=changed)

    world_model = {seed: with_criterion(history) for seed, history in results.world_model.items()}
    figure = model_figures.learning_figure(replace(results, world_model=world_model))
    assert set(lines(figure, 0)) == {"held out, seed 3", "held out, seed 5"}


def test_open_loop_shows_the_seeds_mean(results: Results) -> None:
    figure = model_figures.open_loop_figure(results)
    mean = np.mean([errors.model_rmse for errors in results.errors.values()], axis=0)
    assert lines(figure, 0)["world model"] == pytest.approx(mean)
    assert figure.axes[0].get_xticks().tolist() == HORIZONS
    assert figure.axes[0].get_xscale() == "log"


def test_an_exploding_model_does_not_hide_the_baseline(results: Results) -> None:
    exploded = {seed: replace(errors, model_rmse=[1e6] * 6) for seed, errors in results.errors.items()}
    figure = model_figures.open_loop_figure(replace(results, errors=exploded))
    highest = max(max(errors.persistence_rmse) for errors in results.errors.values())
    assert figure.axes[0].get_ylim()[1] < 6 * highest


def test_penalty_panels_follow_the_correlations(results: Results) -> None:
    figure = model_figures.penalty_figure(results)
    titles = [axes.get_title() for axes in figure.axes]
    best_first = sorted(PENALTIES, key=lambda name: -PENALTIES[name])
    assert [title.split("\n")[0] for title in titles] == [f"{name}, {KINDS[name]}" for name in best_first]
    assert "Spearman 0.85" in titles[0]
    assert "Spearman 0.55" in titles[1]
    medians = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
    assert (np.diff(medians) > 0).all()


def test_a_constant_penalty_still_has_a_panel(results: Results, tmp_path: Path) -> None:
    name = next(iter(PENALTIES))
    samples = {seed: {**s, f"penalty_{name}": np.zeros(4000)} for seed, s in results.samples.items()}
    errors = {
        seed: replace(e, penalties={name: replace(e.penalties[name], spearman=None, pearson=None)})
        for seed, e in results.errors.items()
    }
    with rc_context(RC):
        figure = model_figures.penalty_figure(replace(results, samples=samples, errors=errors))
        figure.savefig(tmp_path / "penalty.png")
    assert figure.axes[0].get_title() == f"{name}, {KINDS[name]}\nSpearman –, Pearson –"
    assert figure.axes[0].texts[0].get_text() == "no positive penalty"


def test_policy_panels_are_those_that_were_logged(results: Results) -> None:
    figure = policy_figures.policy_figure(results)
    assert figure is not None
    assert len(figure.axes) == 8
    assert {"logged behavior", "behavior cloning"} <= {*lines(figure, 0)}
    empty = {seed: PolicyHistory([{"update": 100}]) for seed in results.seeds}
    assert policy_figures.policy_figure(replace(results, policy=empty)) is None
    watched = {seed: PolicyHistory([{"update": u, "return_mean": u + seed} for u in (1, 2)]) for seed in results.seeds}
    figure = policy_figures.policy_figure(replace(results, baselines={"bc": watched}))
    assert figure is not None
    curve = lines(figure, 0)["behavior cloning"]
    assert curve.tolist() == [5.0, 6.0]  # the mean of seeds 3 and 5, instead of the final return
    assert policy_figures.baselines_figure(replace(results, baselines={"bc": watched})) is None
    assert policy_figures.baselines_figure(replace(results, baselines={"bc": empty})) is None


def test_plans_are_drawn_until_they_end(results: Results) -> None:
    assert plan_figures.plans_figure(results) is None
    plans = Plans(
        action=[[[0.0], [0.5], [1.0]], [[-1.0], [-0.5], [0.0]]],
        reward=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
        penalty=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]],
        alive=[[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]],
    )
    figure = plan_figures.plans_figure(replace(results, policy={seed: PolicyHistory([], plans) for seed in (3, 5)}))
    assert figure is not None
    drawn = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    ends = float("nan")
    assert drawn == [
        [[1.0, 2.0, 3.0], pytest.approx([4.0, 5.0, ends], nan_ok=True)],
        [[0.1, 0.2, 0.3], pytest.approx([0.4, 0.5, ends], nan_ok=True)],
        [[0.0, 1.0, 2.0], pytest.approx([-2.0, -1.0, ends], nan_ok=True)],  # of bounds -2 and 2
    ]


def test_dataset_figure_counts_every_episode_and_share(results: Results) -> None:
    figure = data_figures.dataset_figure(results)
    assert figure is not None
    returns, _, _, actions = figure.axes
    assert sum(bar.get_height() for bar in returns.patches) == 60
    assert actions.patches[0].get_data().values.sum() == pytest.approx(1.0)


def test_constant_values_are_said_not_drawn(results: Results) -> None:
    assert data_figures.constants(results) == ""
    dataset = results.dataset
    steady = replace(results, dataset=replace(dataset, reward=np.full_like(dataset.reward, -2.0)))
    assert data_figures.constants(steady) == "Every reward is −2."
    figure = data_figures.dataset_figure(steady)
    assert figure is not None
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["episode return [sum of rewards]", "episode length [steps]", "action[0]"]


def test_few_actions_are_drawn_in_their_own_units(results: Results) -> None:
    spec = replace(results.dataset.spec, action_names=["valve"], units={"valve": "%"}, action_low=[0.0])
    spec = replace(spec, action_high=[100.0])
    figure = data_figures.dataset_figure(replace(results, dataset=replace(results.dataset, spec=spec)))
    assert figure is not None
    axes = figure.axes[-1]
    edges = axes.patches[0].get_data().edges
    assert (axes.get_xlabel(), edges[0], edges[-1]) == ("valve [%]", 0.0, 100.0)


def test_many_actions_share_a_map_with_their_bounds(tmp_path: Path) -> None:
    write_outputs(tmp_path, [0], action_dim=7)
    results = load(tmp_path, [0])
    drawn, figure = data_figures.dataset_figure(results), data_figures.actions_figure(results)
    assert drawn is not None
    assert figure is not None
    assert len(drawn.axes) == 3
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [f"action[{i}]: -2 to 2" for i in range(7)]


def test_counts_are_logarithmic_if_one_bin_swallows_the_rest() -> None:
    _figure, grid = panels("title", 3)
    for axes, heights in zip(grid, ([10, 10, 199], [10, 0, 10, 201], [201]), strict=True):
        axes.bar(range(len(heights)), heights)
        log_counts(axes, heights, "steps")
    assert [axes.get_yscale() for axes in grid] == ["linear", "log", "linear"]
    assert [axes.get_ylabel() for axes in grid] == ["steps", "steps, log scale", "steps"]


def test_no_panel_is_empty_and_no_two_penalties_look_alike(results: Results) -> None:
    names, seeds = [f"penalty {i}" for i in range(9)], results.seeds
    quality, scale = (x[3].penalties["ensemble_std"] for x in (results.errors, results.calibration))
    errors = {seed: replace(results.errors[seed], penalties=dict.fromkeys(names, quality)) for seed in seeds}
    scales = {seed: replace(results.calibration[seed], penalties=dict.fromkeys(names, scale)) for seed in seeds}
    evaluation = replace(results.evaluation, visited=None)
    changed = replace(results, errors=errors, calibration=scales, evaluation=evaluation)
    figure = trust_figures.rollout_figure(changed)
    looks = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len({color for color, _ in looks}) == len(looks) == 9
    for name, draw in FIGURES.items():
        drawn = draw(results)
        for axes in drawn.axes if drawn else []:
            assert axes.lines or axes.patches or axes.collections or axes.images, name


def test_quantities_that_never_change_are_said_not_drawn(results: Results) -> None:
    assert policy_figures.policy_note(results) == ""
    rows: list[dict[str, float | None]] = [{"update": u, "q_mean": float(u), "alpha": 0.2} for u in (1, 2, 3)]
    steady = replace(results, policy={seed: PolicyHistory(rows) for seed in results.seeds})
    figure = policy_figures.policy_figure(steady)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes] == ["critics' mean value [discounted reward]"]
    assert ALT_TEXTS["policy"](steady) == "Over 3 updates: critics' mean value from 1.00 to 3.00."
    note = policy_figures.policy_note(steady)
    assert "Constant, so not drawn: temperature alpha, 0.200." in note
    assert "`monitor.every: 2000`" in note
    without = replace(steady, evaluation=replace(results.evaluation, environment=None))
    assert "monitor" not in policy_figures.policy_note(without)


def test_findings_figure_marks_the_row_that_fits(results: Results) -> None:
    figure = checks_figure.checks_figure(results)
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes[:2]] == ["Action by row", "Reward by row"]
    finding = results.check("action_shift")
    assert finding is not None
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == finding.evidence["inverse_gain_by_shift"]
    marked = [bar.get_x() + bar.get_width() / 2 for bar in figure.axes[0].patches if bar.get_facecolor()[2] > 0.65]
    assert marked == pytest.approx([finding.evidence["best_shift"]])
    assert checks_figure.checks_figure(replace(results, checks=[])) is None
