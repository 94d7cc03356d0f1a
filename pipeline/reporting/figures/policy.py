"""How the policies learned, and whether imagination kept its promises."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figures.style import COLORS, panels, seed_curves
from pipeline.reporting.results import Json, Results
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.score_lines import AGENTS

POLICY_PANELS = {
    "return_mean": "real return [sum of rewards]",
    "q_mean": "critics' mean value [discounted reward]",
    "imagined_reward": "imagined reward [per step]",
    "imagined_penalty": "imagined penalty [reward per step]",
    "imagined_terminal_rate": "imagined terminals [share of steps]",
    "critic_loss": "critic loss",
    "actor_loss": "actor loss",
    "alpha": "temperature alpha",
}


def policy_figure(results: Results) -> Figure | None:
    """Learning curves of the policy, each seed thin and their mean thick; None when nothing was recorded."""
    names = [name for name in POLICY_PANELS if _curves(results.policy, name)]
    if not names:
        return None
    figure, grid = panels(f"Policy learning: {results.title}", len(names), height=2.2)
    for axes, name in zip(grid, names, strict=True):
        seed_curves(axes, _curves(results.policy, name), COLORS["policy"], "policy")
        axes.set(xlabel="gradient updates", title=POLICY_PANELS[name])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if name == "imagined_terminal_rate":
            axes.set_ylim(bottom=0)
        if name == "return_mean":
            _reference_lines(axes, results)
    return figure


def cloning_figure(results: Results) -> Figure | None:
    """Learning curves of behavior cloning: whatever its history holds; None when nothing was recorded."""
    rows = [row for history in results.bc.values() for row in history["rows"]]
    names = sorted({key for row in rows for key in row} - {"update"})
    if not names:
        return None
    figure, grid = panels(f"Behavior cloning: {results.title}", len(names), height=2.5)
    for axes, name in zip(grid, names, strict=True):
        seed_curves(axes, _curves(results.bc, name), COLORS["bc"], AGENTS["bc"])
        axes.set(xlabel="gradient updates", title=name.replace("_", " "))
    return figure


def exploitation_figure(results: Results) -> Figure:
    """Returns imagined from held-out starts, beside the real ones over the same horizon where they exist."""
    horizon = results.evaluation["imagination"]["horizon"]
    shown = {"imagined": np.ravel(results.returns["imagined"])}
    if "real_prefix" in results.returns:
        shown["real"] = np.ravel(results.returns["real_prefix"])
    title = f"{' and '.join(shown).capitalize()} returns over {horizon} steps: {results.title}"
    figure, (axes,) = panels(title, 1)
    edges = np.histogram_bin_edges(np.concatenate(list(shown.values())), 40).tolist()
    for name, values in shown.items():
        weights = np.full(len(values), 1 / len(values))
        label = f"{name}, mean {number(values.mean())}"
        axes.hist(values, edges, weights=weights, color=COLORS[name], alpha=0.45, label=label)
        axes.axvline(values.mean(), color=COLORS[name], linewidth=1.8, linestyle="-" if name == "real" else "--")
    axes.set(xlabel=f"return over {horizon} steps [sum of rewards]", ylabel="share of episodes")
    axes.legend(loc="best")
    return figure


def _curves(histories: dict[int, Json], name: str) -> list[tuple[list[Any], list[Any]]]:
    """One (updates, values) pair per seed that logged ``name``; rows without it are skipped."""
    pairs = []
    for history in histories.values():
        rows = [row for row in history["rows"] if row.get(name) is not None]
        if rows:
            pairs.append(([row["update"] for row in rows], [row[name] for row in rows]))
    return pairs


def _reference_lines(axes: Any, results: Results) -> None:
    for agent in ("logged", "bc"):
        summary = results.summary(agent)
        if summary:
            axes.axhline(summary["return_mean"], color=COLORS[agent], linestyle="--", label=AGENTS[agent])
    axes.legend(loc="best")
