"""Is the world model as sure as it may be, and does its penalty follow its errors into the future?"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import COLORS, CYCLE, log_scale, panels
from pipeline.reporting.results import Results
from pipeline.reporting.trust import judged_on_logs


def reliability_figure(results: Results) -> Figure | None:
    """How much each central interval holds, against how much it should: the mean over outputs and seeds, and the range
    over outputs; None where beliefs have no intervals."""
    judged = [r for r in results.reliability.values() if "skipped" not in r]
    if not judged:
        return None
    figure, grid = panels(f"Reliability on held-out episodes: {results.title}", 2, height=3.6)
    for axes, when in zip(grid, ("before", "after"), strict=True):
        # each "L D", outputs of several seeds side by side
        held = np.concatenate([r[f"coverage_{when}"] for r in judged], axis=1)
        _diagram(axes, np.array(judged[0]["levels"]), held)
        axes.set_title(f"{when} recalibration")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _diagram(axes: Axes, levels: np.ndarray, held: np.ndarray) -> None:
    axes.plot([0, 1], [0, 1], "--", color=COLORS["baseline"], label="as sure as it should be")
    axes.fill_between(
        levels, held.min(1), held.max(1), color=COLORS["model"], alpha=0.2, lw=0, label="range of outputs"
    )
    axes.plot(levels, held.mean(1), color=COLORS["model"], linewidth=1.8, label="mean of outputs")
    axes.text(0.96, 0.05, "overconfident", ha="right", color=COLORS["logged"])
    axes.text(0.04, 0.92, "too cautious", color=COLORS["logged"])
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="central interval [probability]",
        ylabel="share of targets inside",
        aspect="equal",
    )


def rollout_figure(results: Results) -> Figure:
    """Rank correlation of each penalty, summed or at its largest along imagined rollouts, with their error."""
    figure, grid = panels(f"Penalty along imagined rollouts: {results.title}", 2)
    for axes, how in zip(grid, ("sum", "max"), strict=True):
        for i, (name, (horizons, mean)) in enumerate(_means(results, how).items()):
            color, dashes = CYCLE[i % len(CYCLE)], "-" if i < len(CYCLE) else "--"
            axes.plot(horizons, mean, color=color, linestyle=dashes, marker="o", markersize=3.5, label=name)
        log_scale(axes, "x")
        axes.set_xticks(horizons)
        axes.axhline(0, color=COLORS["logged"], linewidth=0.8)
        axes.set(
            xlabel="imagined steps", title={"sum": "sum of the penalty so far", "max": "largest penalty so far"}[how]
        )
    low = min(0.0, *(axes.get_ylim()[0] for axes in grid))
    for axes in grid:
        axes.set_ylim(low, 1)
    grid[0].set_ylabel("rank correlation with the error")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _means(results: Results, how: str) -> dict[str, tuple[list[int], Any]]:
    """Horizons and mean over seeds of each penalty; an undefined correlation is a gap."""
    rows = list(results.errors.values())
    found = {}
    for name in judged_on_logs(results):  # the best first, as in the table
        along = [row["penalties"][name]["rollout"] for row in rows]
        values = np.array([a[how]["spearman"] for a in along], float)  # None becomes NaN
        found[name] = (along[0]["horizons"], values.mean(0))
    return found
