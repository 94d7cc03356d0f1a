"""Figures of the world model: learning curves, open-loop errors, and penalties against errors."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.assessment.results import ModelErrors
from pipeline.reporting.figures.scales import log_scale
from pipeline.reporting.figures.style import COLORS, CYCLE, LOSSES, Curve, panels, seed_curves
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import fixed
from pipeline.reporting.trust import mean_of, ranked_on_logs

QUANTILE_BINS = 12
COLUMNS = 3  # of penalties
WIDE = 5.0  # a curve whose ends differ by more than this factor is drawn on a logarithmic axis
CUT = 4.0  # open-loop error is shown up to this multiple of the baseline's largest


def learning_figure(results: Results) -> Figure:
    """The held-out number that stops training (band: members), and every term of the training loss."""
    history = next(iter(results.world_model.values()))
    criterion, first = history.criterion, history.epochs[0]
    terms = sorted(name for key in first if (name := key.removeprefix("train_")) != key and name != criterion)
    figure, grid = panels(f"World model learning: {results.title}", 1 + len(terms), columns=3 if len(terms) > 1 else 2)
    for i, (seed, history) in enumerate(results.world_model.items()):
        members = np.array([e[f"held_out_{criterion}"] for e in history.epochs])
        x = [e["epoch"] for e in history.epochs]
        color = CYCLE[i % len(CYCLE)]
        grid[0].plot(x, members.mean(1), color=color, label=f"held out, seed {seed}")
        grid[0].fill_between(x, members.min(1), members.max(1), color=color, alpha=0.2, linewidth=0)
    for axes, term in zip(grid, [criterion, *terms], strict=True):
        if f"train_{term}" in first:
            seed_curves(axes, _per_epoch(results, f"train_{term}"), COLORS["logged"], "training", linestyle="--")
        if term != criterion and f"held_out_{term}" in first:
            seed_curves(axes, _per_epoch(results, f"held_out_{term}"), COLORS["model"], "held out")
        axes.set(xlabel="epoch", ylabel=LOSSES.get(term, term.replace("_", " ")))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.legend(loc="best")
    if 0 < WIDE * grid[0].dataLim.y0 < grid[0].dataLim.y1:
        log_scale(grid[0], "y")
    return figure


def _per_epoch(results: Results, key: str) -> list[Curve]:
    return [
        (np.array([e["epoch"] for e in history.epochs]), np.array([e[key] for e in history.epochs]))
        for history in results.world_model.values()
    ]


def open_loop_figure(results: Results) -> Figure:
    """Error of h-step predictions under the logged actions on held-out episodes, beside simple baselines."""
    figure, (state, reward) = panels(f"Open-loop error on held-out episodes: {results.title}", 2, height=3.2)
    baseline = "persistence: nothing changes"
    _horizons(state, results, lambda e: e.model_rmse, lambda e: e.persistence_rmse, lambda e: e.linear_rmse, baseline)
    baseline = "mean logged reward"
    _horizons(
        reward,
        results,
        lambda e: e.reward_mae,
        lambda e: e.reward_baseline_mae,
        lambda e: e.reward_linear_mae,
        baseline,
    )
    trusted = min(e.trust.horizon for e in results.errors.values())
    if trusted:
        state.axvline(trusted, color=COLORS["logged"], linestyle=":", label=f"trusted horizon: {trusted}")
        state.legend(loc="upper left")
    state.set_ylabel(f"observation RMSE [{results.error_unit}]")
    reward.set_ylabel("reward MAE [per step]")
    return figure


def _horizons(
    axes: Axes,
    results: Results,
    model: Callable[[ModelErrors], list[float]],
    baseline: Callable[[ModelErrors], list[float]],
    linear: Callable[[ModelErrors], list[float] | None],
    baseline_label: str,
) -> None:
    errors = list(results.errors.values())

    def curves(pick: Callable[[ModelErrors], list[float] | None]) -> list[Curve]:
        return [(np.array(e.horizons), np.array(values)) for e in errors if (values := pick(e)) is not None]

    seed_curves(axes, curves(baseline), COLORS["baseline"], baseline_label, linestyle="--")
    if curves(linear):
        seed_curves(axes, curves(linear), COLORS["linear"], "linear regression", linestyle="--")
    seed_curves(axes, curves(model), COLORS["model"], "world model")
    log_scale(axes, "x")
    axes.set_xticks(results.first_errors.horizons)
    # Exploding errors must not flatten the baselines; the factor 1.3 leaves room for the legend.
    top = min(axes.get_ylim()[1], CUT * max(max(baseline(e)) for e in errors))
    axes.set(xlabel="horizon [steps]", ylim=(0, 1.3 * top or 1.0))
    axes.legend(loc="upper left")


def penalty_figure(results: Results) -> Figure:
    """Every penalty against the model's true one-step error, pooled over seeds, with the median error in quantile bins
    of the penalty."""
    ranked = ranked_on_logs(results)
    figure, grid = panels(f"Penalty against true one-step error: {results.title}", len(ranked), COLUMNS, height=2.7)
    for i, (axes, (name, summary)) in enumerate(zip(grid, ranked.items(), strict=True)):
        penalty = np.concatenate([s[f"penalty_{name}"] for s in results.samples.values()])
        error = np.concatenate([s["true_error"] for s in results.samples.values()])
        _penalty_panel(axes, penalty, error)
        pearson = mean_of(e.penalties[name].pearson for e in results.errors.values())
        ranks = f"Spearman {fixed(summary.spearman)}, Pearson {fixed(pearson)}"
        axes.set_title(f"{name}, {summary.kind}\n{ranks}", fontsize=9)
        axes.set(xlabel="penalty [reward]", ylabel="true error [reward]" if i % COLUMNS == 0 else None)
    return figure


def _penalty_panel(axes: Axes, penalty: np.ndarray, error: np.ndarray) -> None:
    positive = (penalty > 0) & (error > 0)  # both axes are logarithmic
    penalty, error = penalty[positive], error[positive]
    if not len(penalty):
        axes.text(0.5, 0.5, "no positive penalty", ha="center", transform=axes.transAxes)
        return
    axes.hexbin(penalty, error, gridsize=40, bins="log", mincnt=1, xscale="log", yscale="log", cmap="Blues", lw=0.1)
    log_scale(axes, "x", most=4)
    log_scale(axes, "y")
    bins = np.array_split(np.argsort(penalty), QUANTILE_BINS)
    middle = [(np.median(penalty[b]), np.median(error[b])) for b in bins if len(b)]
    x, y = zip(*middle, strict=True)
    axes.plot(x, y, "o-", color=COLORS["baseline"], markersize=4, label="binned median")
    axes.legend(loc="upper left")
