"""The true error of a world model over two entries of the observation, beside its penalties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from pipeline.reporting.figures.scales import log_scale, log_ticks
from pipeline.reporting.figures.style import COLORS

Array = NDArray[np.floating]
INSIDE, OUTSIDE = COLORS["model"], COLORS["baseline"]
DOTS = 2000  # points of each region in a scatter plot, about the fewest that still show its shape


@dataclass(frozen=True)
class Surface:
    """Errors and penalties on a grid "A I J" of actions, first and second entry of the observation."""

    x: Array  # centers of the first entry, "I"
    y: Array  # of the second, "J"
    labels: tuple[str, str]
    error: Array
    penalties: Mapping[str, Array]
    inside: NDArray[np.bool_]  # the logged region, "I J"


def true_error_figure(title: str, surface: Surface, penalties: Sequence[str], spearman: Mapping[str, str]) -> Figure:
    """Maps (mean over actions) of the true error and of ``penalties``, with the logged region outlined. Below each
    penalty are all its values against the true error, with its entry of ``spearman`` as title."""
    columns = len(penalties) + 1
    figure = Figure(figsize=(2.9 * columns, 6.4))
    grid = figure.subplots(2, columns, squeeze=False)
    figure.suptitle(title)
    _map(figure, grid[0, 0], surface, surface.error, "true error of one step")
    grid[0, 0].set_ylabel(surface.labels[1])
    for axes, name in zip(grid[0, 1:], penalties, strict=True):
        _map(figure, axes, surface, surface.penalties[name], name)
        axes.set_yticklabels([])
    _key(grid[1, 0])
    for axes, name in zip(grid[1, 1:], penalties, strict=True):
        _scatter(axes, surface, surface.penalties[name], spearman[name])
    for axes in grid[1, 2:]:
        axes.set_yticklabels([])
    grid[1, 1].set_ylabel("true error of one step")
    return figure


def _map(figure: Figure, axes: Axes, surface: Surface, values: Array, title: str) -> None:
    mean = np.maximum(values.mean(0), np.finfo(float).tiny)
    low, high = np.quantile(mean, [0.01, 0.99])  # without a few extremes that would use up all the colors
    mesh = axes.pcolormesh(surface.x, surface.y, mean.T, norm=LogNorm(low, high), cmap="viridis", rasterized=True)
    axes.contour(surface.x, surface.y, surface.inside.T, levels=[0.5], colors="white", linewidths=0.8)
    axes.set(title=title, xlabel=surface.labels[0])
    axes.grid(False)
    bar = figure.colorbar(mesh, ax=axes, location="bottom", extend="both", format="{x:g}")
    bar.set_ticks(log_ticks(low, high))
    bar.ax.xaxis.set_minor_locator(NullLocator())


def _scatter(axes: Axes, surface: Surface, penalty: Array, title: str) -> None:
    inside = np.broadcast_to(surface.inside, penalty.shape)
    for rows, color in ((~inside, OUTSIDE), (inside, INSIDE)):
        x, y = penalty[rows], surface.error[rows]
        every = max(1, len(x) // DOTS)
        axes.plot(x[::every], y[::every], ".", color=color, markersize=1.5, alpha=0.4)
    axes.set(yscale="log", xlabel="penalty [units of reward]")
    log_scale(axes, "x")
    axes.set_title(title, fontsize=8)


def _key(axes: Axes) -> None:
    axes.axis("off")
    for color, label in ((INSIDE, "inside the logged region"), (OUTSIDE, "outside")):
        axes.plot([], [], "o", color=color, label=label)
    axes.plot([], [], color=COLORS["random"], label="white outline above:\nits border")
    axes.legend(loc="center")
