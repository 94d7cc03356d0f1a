"""What more logs are worth: returns against logged transitions."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import COLORS, panels
from pipeline.reporting.results import Json
from pipeline.reporting.text.score_lines import AGENTS

# Estimate and interval as evaluate.json names them, and what the axis says.
MEASURES = (
    ("return_mean", "return_ci95", "mean return [sum of rewards], 95 % interval"),
    ("iqm", "ci95", "normalized score, IQM, 95 % interval"),
)


def efficiency_figure(results: Sequence[Json]) -> Figure:
    """Policy and behavior cloning over the transitions that they learned from, beside the logs of the largest share;
    normalized too where references exist. One result for each share, the smallest first, as
    :func:`pipeline.cli.efficiency.summarized` gives it."""
    largest = results[-1]
    measures = [m for m in MEASURES if largest["scores"]["policy"][m[0]] is not None]
    seeds = ", ".join(map(str, largest["seeds"]))
    noun = "seed" if len(largest["seeds"]) == 1 else "seeds"
    figure, grid = panels(f"Sample efficiency: {largest['name']}, {noun} {seeds}", len(measures), height=4.0)
    for axes, (key, interval, unit) in zip(grid, measures, strict=True):
        for agent in ("policy", "bc"):
            _curve(axes, results, agent, key, interval)
        _line(axes, largest["scores"]["logged"], key, interval)
        _label(axes, results, unit)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curve(axes: Axes, results: Sequence[Json], agent: str, key: str, interval: str) -> None:
    scores = [result["scores"][agent] for result in results]
    # Equal returns leave an interval that imitation their mean by a rounding.
    below = [max(score[key] - score[interval][0], 0.0) for score in scores]
    above = [max(score[interval][1] - score[key], 0.0) for score in scores]
    steps, middle = [result["train_transitions"] for result in results], [score[key] for score in scores]
    style: dict[str, Any] = {"color": COLORS[agent], "label": AGENTS[agent], "marker": "o", "capsize": 3}
    axes.errorbar(steps, middle, [below, above], **style)


def _line(axes: Axes, logged: Json, key: str, interval: str) -> None:
    axes.axhline(logged[key], color=COLORS["logged"], linestyle="--", label=AGENTS["logged"])
    axes.axhspan(*logged[interval], color=COLORS["logged"], alpha=0.12, linewidth=0)


def _label(axes: Axes, results: Sequence[Json], unit: str) -> None:
    axes.set(xscale="log", xlabel="logged transitions, and share of training episodes", ylabel=unit)
    ticks = {
        result["train_transitions"]: f"{result['train_transitions']:,}\n{100 * result['share']:.3g} %"
        for result in results
    }
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
