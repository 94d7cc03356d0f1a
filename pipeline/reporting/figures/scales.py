"""Logarithmic axes with labels that do not collide."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

SWALLOWED = 20.0  # a largest bin of more than this many times the median one hides the others on a linear axis
TICKS = 6  # at most, on an axis of about three inches


def log_scale(axes: Axes, *names: str, most: int = TICKS) -> None:
    """Make the axes ``names`` ("x", "y") logarithmic, with at most ``most`` plain labels over the range of what was
    drawn so far; the default labels of a short range collide."""
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis: Axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(FixedLocator(log_ticks(*axis.get_view_interval(), most=most)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Two to ``most`` tick values with plain labels that do not collide on a short logarithmic axis from ``low`` to
    ``high``: powers of ten, or 1, 2, 5 of each, or even steps if the range is shorter."""
    decades = [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    if len(decades) >= 3:
        return decades[:: -(-len(decades) // most)]
    below = 10.0 ** math.floor(math.log10(low))
    ticks = sorted({x * d for d in (below, *decades) for x in (1, 2, 5) if low <= x * d <= high})
    if len(ticks) >= 2:
        return ticks[::2] if len(ticks) > most else ticks
    return [float(x) for x in MaxNLocator(2, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= x <= high]


def log_counts(axes: Axes, heights: ArrayLike, unit: str) -> None:
    """Label the y axis of a histogram with ``unit``, and make it logarithmic if its largest bin swallows the rest."""
    bins = np.asarray(heights, float)
    bins = bins[bins > 0]
    swallowed = len(bins) > 1 and bins.max() > SWALLOWED * np.median(bins)
    if swallowed:
        axes.set(yscale="log", ylim=(bins.min() / 2, 3 * bins.max()))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{unit}, log scale" if swallowed else unit)
