"""The style that all figures share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

Curve = tuple[ArrayLike, ArrayLike]  # x and y

# Okabe and Ito (2008): distinguishable for color-blind readers.
COLORS = {
    "policy": "#0072B2",
    "bc": "#E69F00",
    "td3_bc": "#009E73",
    "iql": "#CC79A7",
    "rebrac": "#56B4E9",
    "weighted_bc": "#999933",
    "logged": "#555555",
    "random": "#999999",
    "model": "#0072B2",
    "baseline": "#D55E00",
    "linear": "#E69F00",
    "imagined": "#CC79A7",
    "real": "#009E73",
}
# Enough for every penalty to have its own.
CYCLE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#44AA99", "#555555"]
MARKERS = "os^vDP"  # beside the colors, for lines that lie on each other
# Axis labels of the terms of a world model's loss.
LOSSES = {
    "mse": "square error [normalized]",
    "nll": "NLL [nats]",
    "reconstruction": "reconstruction [nats]",
    "reward": "reward [nats]",
    "dynamics_kl": "KL of the dynamics [nats]",
    "representation_kl": "KL of the representation [nats]",
    "kl": "KL of the weights [nats]",
    "termination_loss": "termination [nats]",
}

WIDTH = 8.0  # inches, for every figure, so that letters have one size on the page

RC: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 130,
    "savefig.dpi": 232,  # two pixels of the image for each pixel of the page's width
    "font.size": 10,
    "axes.titlesize": 10,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "axes.prop_cycle": cycler(color=CYCLE),
}


def agent_color(agent: str) -> str:
    """The color of an agent in every figure; learners that are not part of the project share one."""
    return COLORS.get(agent, "#882255")


def panels(title: str, count: int, columns: int = 2, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A titled figure with ``count`` axes on a grid; call inside ``matplotlib.rc_context(RC)``."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH, 0.4 + height * rows))
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for unused in grid[count:]:
        unused.remove()
    figure.suptitle(title)
    return figure, list(grid[:count])


def newest_frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a picture shows of an image "H W C" of stacked frames: the last one, "H W" grey or "H W 3"."""
    channels = 3 if image.shape[-1] % 3 == 0 else 1
    return image[..., -channels:].squeeze()


def seed_curves(axes: Axes, curves: Sequence[Curve], color: str, label: str, linestyle: str = "-") -> None:
    """Draw every seed's curve thin, and their mean thick over the range that all of them cover."""
    arrays = [(np.asarray(x, float), np.asarray(y, float)) for x, y in curves]
    if len(arrays) > 1:
        for x, y in arrays:
            axes.plot(x, y, color=color, linewidth=0.7, alpha=0.45, linestyle=linestyle)
    low, high = max(x[0] for x, _ in arrays), min(x[-1] for x, _ in arrays)
    grid = np.unique(np.concatenate([x for x, _ in arrays]))
    grid = grid[(grid >= low) & (grid <= high)]
    mean = np.mean([np.interp(grid, x, y) for x, y in arrays], axis=0)
    marker = "o" if len(grid) <= 12 else ""
    axes.plot(grid, mean, color=color, linewidth=1.8, label=label, marker=marker, markersize=3.5, linestyle=linestyle)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without the software's version, so that equal figures have equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
