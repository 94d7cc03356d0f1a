"""Figures of the policies: learning curves, and imagined beside real returns."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.results import LOGGED
from pipeline.policies.history import PolicyHistory
from pipeline.reporting.figures.scales import log_counts
from pipeline.reporting.figures.style import COLORS, Curve, agent_color, panels, seed_curves
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.score_lines import label

RETURN = "return_mean"  # of real episodes while a policy learns

POLICY_PANELS = {
    RETURN: "real return [sum of rewards]",
    "q_mean": "critics' mean value [discounted reward]",
    "imagined_reward": "imagined reward [per step]",
    "imagined_penalty": "imagined penalty [reward per step]",
    "imagined_terminal_rate": "imagined terminals [share of steps]",
    "critic_loss": "critic loss",
    "actor_loss": "actor loss",
    "alpha": "temperature alpha",
}

BASELINE_PANELS = POLICY_PANELS | {
    "bc_loss": "imitation loss",
    "bc_error": "squared distance from logged actions",
    "value_loss": "loss of the state value",
    "advantage": "mean advantage [standard deviations of reward]",
}


def policy_figure(results: Results) -> Figure | None:
    """Learning curves of the policy, seeds thin and their mean thick; None if nothing varies. The panel of the real
    return shows the baselines too."""
    names = [name for name in POLICY_PANELS if _varies(results.policy, name) or (name == RETURN and _watched(results))]
    if not names:
        return None
    figure, grid = panels(f"Policy learning: {results.title}", len(names), height=2.2)
    for axes, name in zip(grid, names, strict=True):
        if curves := _curves(results.policy, name):
            seed_curves(axes, curves, COLORS["policy"], "policy")
        axes.set(xlabel="gradient updates", title=POLICY_PANELS[name])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if name == "imagined_terminal_rate":
            axes.set_ylim(bottom=0)
        if name == RETURN:
            _baselines_beside(axes, results)
    return figure


def policy_note(results: Results) -> str:
    """What the learning curves do not show: quantities that never changed, and the real return if it was not
    monitored."""
    recorded = {name: curves for name in POLICY_PANELS if (curves := _curves(results.policy, name))}
    sentences = [
        f"Constant, so not drawn: {POLICY_PANELS[name]}, {number(float(np.ravel(curves[0][1])[0]))}."
        for name, curves in recorded.items()
        if not _varies(results.policy, name)
    ]
    if results.evaluation.environment is not None and RETURN not in recorded and not _watched(results):
        sentences.append(
            "The real return while learning was not measured; `monitor.every: 2000` in params.yaml runs real episodes"
            " every 2,000 updates."
        )
    return " ".join(sentences)


def _varies(histories: dict[int, PolicyHistory], name: str) -> bool:
    """Whether a quantity was recorded and is not the same in all updates of all seeds."""
    values = [np.asarray(y, float) for _, y in _curves(histories, name)]
    return bool(values) and len(np.unique(np.concatenate(values))) > 1


def _watched(results: Results) -> bool:
    """Whether a baseline ran real episodes while it learned."""
    return any(_curves(histories, RETURN) for histories in results.baselines.values())


def baselines_figure(results: Results) -> Figure | None:
    """Learning curves of the baselines, one panel for each metric that varies; None if none does. Their real returns
    stand beside the policy's."""
    metrics: dict[str, list[str]] = {}  # the baselines in which a metric varies
    for baseline, histories in results.baselines.items():
        keys = {key for history in histories.values() for row in history.rows for key in row}
        for name in sorted(keys - {"update", RETURN}):
            if _varies(histories, name):
                metrics.setdefault(name, []).append(baseline)
    if not metrics:
        return None
    figure, grid = panels(f"Baselines: {results.title}", len(metrics), height=2.5)
    for axes, (name, baselines) in zip(grid, metrics.items(), strict=True):
        for baseline in baselines:
            curves = _curves(results.baselines[baseline], name)
            seed_curves(axes, curves, agent_color(baseline), label(baseline))
        axes.set(xlabel="gradient updates", title=BASELINE_PANELS.get(name, name.replace("_", " ")))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(loc="best")
    return figure


def exploitation_figure(results: Results) -> Figure:
    """Imagined returns from held-out starts, beside real returns over the same horizon if there are any."""
    horizon = results.evaluation.imagination.horizon
    returns = {"imagined": np.ravel(results.returns["imagined"])}
    if "real_prefix" in results.returns:
        returns["real"] = np.ravel(results.returns["real_prefix"])
    title = f"{' and '.join(returns).capitalize()} returns over {horizon} steps: {results.title}"
    figure, (axes,) = panels(title, 1)
    edges = np.histogram_bin_edges(np.concatenate(list(returns.values())), 40).tolist()
    heights: list[float] = []
    for name, values in returns.items():
        weights = np.full(len(values), 1 / len(values))
        text = f"{name}, mean {number(values.mean())}"
        shares, *_ = axes.hist(values, edges, weights=weights, color=COLORS[name], alpha=0.45, label=text)
        heights += np.ravel(shares).tolist()
        axes.axvline(values.mean(), color=COLORS[name], linewidth=1.8, linestyle="-" if name == "real" else "--")
    axes.set_xlabel(f"return over {horizon} steps [sum of rewards]")
    log_counts(axes, heights, "share of episodes")
    axes.legend(loc="best")
    return figure


def _curves(histories: dict[int, PolicyHistory], name: str) -> list[Curve]:
    """Updates and values of every seed that recorded ``name``; rows without it are skipped."""
    curves: list[Curve] = []
    for history in histories.values():
        rows = [row for row in history.rows if row.get(name) is not None]
        if rows:
            curves.append((np.array([row["update"] for row in rows]), np.array([row[name] for row in rows])))
    return curves


def _baselines_beside(axes: Axes, results: Results) -> None:
    """The baselines' learning curves, or their final return where none was recorded, and the logged return."""
    curves = {name: _curves(histories, RETURN) for name, histories in results.baselines.items()}
    for agent in (LOGGED, *results.evaluation.baselines):
        summary = results.summary(agent)
        if curves.get(agent):
            seed_curves(axes, curves[agent], agent_color(agent), label(agent))
        elif summary:
            axes.axhline(summary.return_mean, color=agent_color(agent), linestyle="--", label=label(agent))
    several = len(results.evaluation.baselines) > 1  # their lines run behind the names
    axes.legend(loc="best", frameon=several, framealpha=0.85, edgecolor="none", fontsize=7 if several else None)
