"""Returns of several runs side by side, and the probability that each improves on the reference."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.evaluation.results import Interval
from pipeline.reporting.figures.style import COLORS, panels
from pipeline.reporting.leaderboard import Leaderboard, Row

MOST_ROWS = 30  # that are drawn
Number = Callable[[Row], float | None]
Bounds = Callable[[Row], Interval | None]


def leaderboard_figure(board: Leaderboard) -> Figure | None:
    """Mean and interquartile mean of the returns with their intervals, beside the probability of improvement; without
    any return the offline estimates. None if there is neither. Call inside ``matplotlib.rc_context(RC)``."""
    rows = board.rows[:MOST_ROWS]
    returns = any(row.return_mean is not None for row in rows)
    improvement = any(row.improvement is not None for row in rows)
    if not returns and not any(row.estimates for row in rows):
        return None
    figure, grid = panels(board.title, 2 if improvement else 1, height=0.9 + _row_height(rows) * len(rows))
    if returns:
        draw(grid[0], rows, lambda row: row.return_mean, lambda row: row.return_ci, "mean", "model", "o", 0.12)
        draw(grid[0], rows, lambda row: row.iqm, lambda row: row.iqm_ci, "interquartile mean", "baseline", "s", -0.12)
    else:
        draw(grid[0], rows, lambda row: row.estimates.get("fqe"), None, "fitted Q evaluation", "model", "o", 0.12)
        low: Number = lambda row: row.estimates.get("fqe_low")  # noqa: E731
        draw(grid[0], rows, low, None, "its lower bound", "linear", "<", 0.12)
        draw(grid[0], rows, lambda row: row.estimates.get("model"), None, "world model", "imagined", "s", -0.12)
    grid[0].xaxis.set_major_locator(MaxNLocator(4))
    grid[0].set(xlabel="return, 95 % interval" if returns else "estimated value, discounted")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _names(grid[0], rows)
    if improvement:
        draw(grid[1], rows, lambda row: row.improvement, lambda row: row.improvement_ci, "", "real", "o", 0.0)
        grid[1].axvline(0.5, color=COLORS["logged"], linestyle="--", linewidth=1)
        grid[1].set(xlim=(-0.02, 1.02), xlabel="P(improvement), 95 % interval")
        grid[1].sharey(grid[0])
        grid[1].tick_params(labelleft=False)
    return figure


def draw(
    axes: Axes,
    rows: Sequence[Row],
    value: Number,
    bounds: Bounds | None,
    label: str,
    color: str,
    marker: str,
    shift: float,
) -> None:
    """One mark for each row that has the number, with its interval. The first row is the uppermost one."""
    for i, row in enumerate(rows):
        number, ends = value(row), bounds(row) if bounds is not None else None
        if number is None:
            continue
        y = -i + shift
        if ends is not None:
            axes.plot(ends, [y, y], color=COLORS[color], linewidth=1.6)
        axes.plot([number], [y], marker, color=COLORS[color], label=label, markersize=5)
        label = ""


def _names(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_yticks([-i for i in range(len(rows))], [_wrapped(row.name) for row in rows])
    axes.set_ylim(-len(rows) + 0.5, 0.5)


def _wrapped(name: str) -> str:
    """A long name on several lines, one for each of its settings."""
    return name if len(name) <= 32 else name.replace(", ", ",\n")


def _row_height(rows: Sequence[Row]) -> float:
    """Inches, so that the names of neighbors do not touch."""
    lines = max(_wrapped(row.name).count("\n") + 1 for row in rows)
    return 0.18 + 0.18 * lines
