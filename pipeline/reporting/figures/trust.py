"""Figures of trust: calibration of the world model, and penalties along imagined rollouts."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.assessment.results import HorizonCorrelations, RolloutCorrelations
from pipeline.reporting.figures.scales import log_scale
from pipeline.reporting.figures.style import COLORS, CYCLE, MARKERS, panels
from pipeline.reporting.results import Results
from pipeline.reporting.trust import ranked_on_logs


def reliability_figure(results: Results) -> Figure | None:
    """Share of targets inside each central interval, against the interval's probability: the mean over outputs and
    seeds, and the range over outputs; None if there are no intervals."""
    measured = results.measured_reliability
    if not measured:
        return None
    figure, grid = panels(f"Reliability on held-out episodes: {results.title}", 2, height=3.6)
    coverages = {
        "before recalibration": [r.coverage_before for r in measured],
        "after recalibration": [r.coverage_after for r in measured],
    }
    for axes, (title, coverage) in zip(grid, coverages.items(), strict=True):
        # Each is "L D"; the outputs of several seeds stand side by side.
        _diagram(axes, np.array(measured[0].levels), np.concatenate(coverage, axis=1))
        axes.set_title(title)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _diagram(axes: Axes, levels: np.ndarray, coverage: np.ndarray) -> None:
    axes.plot([0, 1], [0, 1], "--", color=COLORS["baseline"], label="perfect calibration")
    axes.fill_between(
        levels, coverage.min(1), coverage.max(1), color=COLORS["model"], alpha=0.2, lw=0, label="range of outputs"
    )
    axes.plot(levels, coverage.mean(1), color=COLORS["model"], linewidth=1.8, label="mean of outputs")
    axes.text(0.96, 0.05, "overconfident", ha="right", color=COLORS["logged"])
    axes.text(0.04, 0.92, "underconfident", color=COLORS["logged"])
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="central interval [probability]",
        ylabel="share of targets inside",
        aspect="equal",
    )


def rollout_figure(results: Results) -> Figure:
    """Rank correlation of each penalty, its sum or its maximum along imagined rollouts, with their error."""
    figure, grid = panels(f"Penalty along imagined rollouts: {results.title}", 2)
    names = list(ranked_on_logs(results))  # the best first, as in the table
    horizons = results.first_errors.penalties[names[0]].rollout.horizons
    sums = {name: _mean_over_seeds([r.sum for r in _rollouts(results, name)]) for name in names}
    maxima = {name: _mean_over_seeds([r.max for r in _rollouts(results, name)]) for name in names}
    titles = {"sum of the penalty so far": sums, "largest penalty so far": maxima}
    for axes, (title, curves) in zip(grid, titles.items(), strict=True):
        for i, (name, curve) in enumerate(curves.items()):
            color, marker = CYCLE[i % len(CYCLE)], MARKERS[i % len(MARKERS)]
            axes.plot(horizons, curve, color=color, marker=marker, markersize=4, linewidth=1.4, label=name)
        log_scale(axes, "x")
        axes.set_xticks(horizons)
        axes.axhline(0, color=COLORS["logged"], linewidth=0.8)
        axes.set(xlabel="imagined steps", title=title)
    low = min(0.0, *(axes.get_ylim()[0] for axes in grid))
    for axes in grid:
        axes.set_ylim(low, 1)
    grid[0].set_ylabel("rank correlation with the error")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _rollouts(results: Results, name: str) -> list[RolloutCorrelations]:
    """Correlations of one penalty along rollouts, by seed."""
    return [errors.penalties[name].rollout for errors in results.errors.values()]


def _mean_over_seeds(by_seed: list[HorizonCorrelations]) -> np.ndarray:
    """Mean rank correlation by horizon; an undefined one becomes NaN, which leaves a gap in the curve."""
    return np.array([seed.spearman for seed in by_seed], float).mean(0)
