"""Figures of the logs, and of the policy's return beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.data.spec import DatasetSpec
from pipeline.envs.action_space import DISCRETE
from pipeline.reporting.figures.scales import log_counts
from pipeline.reporting.figures.style import COLORS, agent_color, newest_frame, panels
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.score_lines import label

ROWS_SHOWN = 200_000
FRAMES_SHOWN = 8
ALONE = 3  # action dimensions that have a histogram each; more of them share a heat map
NAMED = 24  # rows of the heat map that have a name
BINS = 40
LABELS = {  # axis labels of what is logged, and of the counts
    "return": ("episode return [sum of rewards]", "episodes"),
    "length": ("episode length [steps]", "episodes"),
    "reward": ("reward [per step]", "steps"),
}
EVERY = {  # what replaces a histogram of one bar
    "return": "Every episode returns {:,.6g}",
    "length": "Every episode has {:,.6g} steps",
    "reward": "Every reward is {:,.6g}",
}


def dataset_figure(results: Results) -> Figure | None:
    """Histograms of episode returns, episode lengths and rewards, as far as they vary, and of few actions; None if
    nothing is left to draw."""
    spec = results.dataset.spec
    varying = {name: values for name, values in _logged(results).items() if _varies(values)}
    discrete = spec.action_kind == DISCRETE
    actions = [] if discrete or spec.action_dim > ALONE else list(_actions(results).T)
    count = len(varying) + (1 if discrete else len(actions))
    if not count:
        return None
    figure, grid = panels(f"Logged data: {spec.name}", count, columns=3 if count % 3 == 0 else 2, height=2.5)
    for axes, (name, values) in zip(grid, varying.items(), strict=False):
        _histogram(axes, values, *LABELS[name])
    for i, values in enumerate(actions):
        _action(grid[len(varying) + i], spec, i, values)
    if discrete:
        _discrete_actions(grid[-1], spec, _actions(results))
    return figure


def actions_figure(results: Results) -> Figure | None:
    """How often each of many action dimensions takes each value, as one map; None if they are few or discrete."""
    spec = results.dataset.spec
    if spec.action_kind == DISCRETE or spec.action_dim <= ALONE:
        return None
    rows = min(spec.action_dim, NAMED)
    figure, (axes,) = panels(f"Logged actions: {spec.name}", 1, height=1.2 + 0.25 * rows)
    _many_actions(axes, spec, _actions(results))
    return figure


def constants(results: Results) -> str:
    """What the figure of the dataset leaves out because it is the same everywhere; empty if all of it varies."""
    same = {name: values for name, values in _logged(results).items() if not _varies(values)}
    return " ".join(f"{EVERY[name].format(float(values[0])).replace('-', '−')}." for name, values in same.items())


def _logged(results: Results) -> dict[str, np.ndarray]:
    dataset = results.dataset
    return {
        "return": dataset.episode_returns("all"),
        "length": dataset.episode_lengths("all"),
        "reward": np.asarray(dataset.reward[_rows(results)]),
    }


def _actions(results: Results) -> np.ndarray:
    """Actions "N A" as models see them."""
    return np.asarray(results.dataset.action[_rows(results)])


def _rows(results: Results) -> np.ndarray:
    """Logged steps, evenly thinned where there are more than can be seen."""
    rows = results.dataset.steps("all")
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS_SHOWN)).astype(np.int64)]


def _varies(values: np.ndarray) -> bool:
    return bool(values.min() < values.max())


def frames_figure(results: Results) -> Figure | None:
    """Frames of the first episode, evenly spaced, one row for each image key; None for logs without images."""
    dataset = results.dataset
    first, last = dataset.offsets[0], dataset.offsets[1] - 1
    rows = np.unique(np.linspace(first, last, FRAMES_SHOWN).astype(np.int64))
    frames = [(key, row) for key in dataset.spec.image_keys for row in rows]
    if not frames:
        return None
    figure, grid = panels(f"First logged episode: {dataset.spec.name}", len(frames), columns=len(rows), height=1.2)
    for axes, (key, row) in zip(grid, frames, strict=True):
        axes.imshow(newest_frame(dataset.obs[key][row]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(f"{key} {row - first}", fontsize=7)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)  # a frame, because white images would vanish on the page
    return figure


def scores_figure(results: Results) -> Figure | None:
    """Mean return of every agent and its interval; None if only the logs have returns."""
    scores = {name: score for name in results.evaluation.agents if (score := results.summary(name))}
    if len(scores) < 2:
        return None
    figure, (axes,) = panels(f"Mean return, 95 % intervals: {results.title}", 1, height=0.6 + 0.45 * len(scores))
    for row, (name, score) in enumerate(scores.items()):
        mean = score.return_mean
        low, high = score.return_mean_ci95
        axes.plot([low, high], [row, row], color=agent_color(name), linewidth=3, solid_capstyle="butt")
        axes.plot(mean, row, "o", color=agent_color(name), markersize=7)
        axes.annotate(number(mean), (mean, row), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(scores)), [label(name) for name in scores])
    axes.set_ylim(len(scores) - 0.5, -0.7)
    axes.margins(x=0.12)  # room for the numbers
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("episode return [sum of rewards]")
    return figure


def _histogram(axes: Axes, values: np.ndarray, label: str, unit: str) -> None:
    heights, *_ = axes.hist(values, bins=BINS, color=COLORS["logged"], alpha=0.75)
    mean = float(values.mean())
    axes.axvline(mean, color=COLORS["baseline"], linewidth=1.5, label=f"mean {number(mean)}")
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    log_counts(axes, heights, unit)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.98), borderpad=0)  # above the bars


def _discrete_actions(axes: Axes, spec: DatasetSpec, action: np.ndarray) -> None:
    share, names = action.mean(axis=0), [spec.action_label(i) for i in range(action.shape[1])]
    axes.barh(names, share, color=COLORS["logged"], alpha=0.75)
    axes.set(xlabel="share of steps", ylim=(len(names) - 0.5, -0.5))


def _action(axes: Axes, spec: DatasetSpec, i: int, values: np.ndarray) -> None:
    """One action dimension within its bounds, in its own unit."""
    edges = np.linspace(spec.action_low[i], spec.action_high[i], BINS + 1)
    share = np.histogram(values, np.linspace(-1, 1, BINS + 1))[0] / len(values)
    axes.stairs(share, edges, fill=True, color=COLORS["logged"], alpha=0.75)
    axes.set_xlabel(spec.action_label(i))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    log_counts(axes, share, "share of steps")


def _many_actions(axes: Axes, spec: DatasetSpec, action: np.ndarray) -> None:
    share = np.stack([np.histogram(values, np.linspace(-1, 1, BINS + 1))[0] / len(values) for values in action.T])
    image = axes.imshow(share, aspect="auto", extent=(0.0, 1.0, len(share) - 0.5, -0.5), cmap="cividis", vmin=0)
    axes.figure.colorbar(image, ax=axes, label="share of steps")
    axes.grid(visible=False)
    axes.set_xticks([0, 1], ["lower bound", "upper bound"])
    axes.set_xlabel("action within its bounds")
    if len(share) > NAMED:
        axes.set_ylabel("action dimension")
        return
    bounds = zip(spec.action_low, spec.action_high, strict=True)
    names = [f"{spec.action_label(i)}: {low:,.4g} to {high:,.4g}" for i, (low, high) in enumerate(bounds)]
    axes.set_yticks(range(len(names)), names, fontsize=8)
