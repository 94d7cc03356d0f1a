"""The data checks that measured something that can be drawn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figures.style import COLORS, panels
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import percent

FEATURES_NAMED = 12  # the axis numbers the features if there are more
LEAST_LEFT = 1e-4  # share of variance; smaller ones are drawn as this
SCALES = 0.5  # smallest range of the axis in powers of ten

Evidence = Mapping[str, Any]  # of one check


def checks_figure(results: Results) -> Figure | None:
    """A panel for each check that measured something by shift, lag, feature or place; None if no check did."""
    checks = [check for name in PANELS if (check := results.check(name))]
    if not checks:
        return None
    figure, grid = panels(f"Data checks: {results.dataset.spec.name}", len(checks), height=2.5)
    for axes, check in zip(grid, checks, strict=True):
        PANELS[check.name](axes, check.evidence)
    return figure


def _action_shift(axes: Axes, evidence: Evidence) -> None:
    shifts = evidence["shifts"]
    predictable = evidence["inverse_gain_by_shift"]
    colors = _marked(shifts, evidence["best_shift"])
    axes.bar(shifts, predictable, width=0.6, color=colors, label="action predictable from both observations")
    explained = evidence["change_explained_by_shift"]
    axes.plot(shifts, explained, "o-", color=COLORS["baseline"], label="explained share of the change")
    axes.set(xlabel="row of the action, 0: as logged", ylabel="share of variance", title="Action by row")
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set_ylim(min(0.0, *predictable), 1.45)
    axes.legend(loc="upper left")


def _reward_shift(axes: Axes, evidence: Evidence) -> None:
    shifts = evidence["shifts"]
    unexplained = [max(1 - explained, LEAST_LEFT) for explained in evidence["explained_by_shift"]]
    axes.bar(shifts, unexplained, width=0.6, color=_marked(shifts, evidence["best_shift"]))
    axes.set(xlabel="row of the reward, 0: as logged", ylabel="unexplained share", title="Reward by row")
    axes.set(yscale="log", ylim=(LEAST_LEFT / 2, 2))


def _memory(axes: Axes, evidence: Evidence) -> None:
    open_shares = [1 - evidence["explained_now"], 1 - evidence["explained_with_history"]]
    label = f"unexplained: {open_shares[0]:.2g}, with history {open_shares[1]:.2g}"
    correlations = evidence["residual_autocorrelation_by_lag"]
    axes.bar(evidence["lags"], correlations, width=0.6, color=COLORS["logged"], label=label)
    axes.axhline(0, color="#333333", linewidth=0.8)
    for limit in (-1, 1):  # beyond, a bar counts as a sign of memory
        axes.axhline(limit * evidence["residual_autocorrelation_limit"], color="#333333", linewidth=0.8, linestyle="--")
    axes.set(xlabel="lag [steps]", ylabel="autocorrelation", ylim=(-1, 1))
    axes.set_title(f"One-step residuals: {evidence['feature']}")
    axes.legend(loc="lower left")


def _unit_change(axes: Axes, evidence: Evidence) -> None:
    names, factors = evidence["features"], np.array(evidence["factor_by_feature"], float)
    axes.barh(range(len(names)), np.log10(factors), color=_marked(names, evidence.get("feature")))
    widest = max(SCALES, 1.1 * float(abs(np.log10(factors)).max()))
    axes.set(xlabel="change along the log [powers of ten]", title="Size of one-step changes")
    axes.set(xlim=(-widest, widest), ylim=(len(names) - 0.5, -0.5))
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if len(names) <= FEATURES_NAMED:
        axes.set_yticks(range(len(names)), names, fontsize=8)
    else:
        axes.set_ylabel("feature")


def _coverage(axes: Axes, evidence: Evidence) -> None:
    cells = np.array(evidence["cells"])
    axes.imshow(np.where(cells > 0, cells, np.nan), origin="lower", aspect="auto", cmap="cividis_r")
    share, size = evidence["occupied_cells_share"], evidence["effective_dimension"]
    axes.set(xticks=[], yticks=[])
    if len(cells) > 1:
        axes.set(xlabel="second component", ylabel="first component")
    axes.set_title(f"{percent(share)} of cells reached, dimension {size:.2g} of {evidence['features']}")
    axes.grid(visible=False)


def _marked(values: Sequence[object], best: object) -> list[str]:
    return [COLORS["policy"] if value == best else COLORS["random"] for value in values]


PANELS: dict[str, Callable[[Axes, Evidence], None]] = {
    "action_shift": _action_shift,
    "reward_shift": _reward_shift,
    "memory": _memory,
    "unit_change": _unit_change,
    "coverage": _coverage,
}
