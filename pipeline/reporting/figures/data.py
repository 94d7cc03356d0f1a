"""Figures of the logs, and of the policy's return beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.envs.action_space import DISCRETE
from pipeline.reporting.figures.style import COLORS, newest_frame, panels
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.score_lines import AGENTS

ROWS_SHOWN = 200_000
FRAMES_SHOWN = 8
LINES_SHOWN = 3  # more action dimensions than this are drawn as a heat map


def dataset_figure(results: Results) -> Figure:
    """Histograms of episode returns, episode lengths, rewards and actions."""
    dataset = results.dataset
    figure, (returns, lengths, rewards, actions) = panels(f"Logged data: {dataset.spec.name}", 4, height=2.5)
    rows = dataset.steps("all")
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS_SHOWN)).astype(np.int64)]
    _histogram(returns, dataset.episode_returns("all"), "episode return [sum of rewards]", "episodes")
    _histogram(lengths, dataset.episode_lengths("all"), "episode length [steps]", "episodes")
    _histogram(rewards, np.asarray(dataset.reward[rows]), "reward [per step]", "steps")
    draw_actions = _discrete_actions if dataset.spec.action_kind == DISCRETE else _actions
    draw_actions(actions, np.asarray(dataset.action[rows]))
    return figure


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
    scores = {name: score for name in AGENTS if (score := results.summary(name))}
    if len(scores) < 2:
        return None
    figure, (axes,) = panels(f"Mean return, 95 % intervals: {results.title}", 1, height=0.6 + 0.45 * len(scores))
    for row, (name, score) in enumerate(scores.items()):
        mean = score.return_mean
        low, high = score.return_mean_ci95
        axes.plot([low, high], [row, row], color=COLORS[name], linewidth=3, solid_capstyle="butt")
        axes.plot(mean, row, "o", color=COLORS[name], markersize=7)
        axes.annotate(number(mean), (mean, row), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(scores)), [AGENTS[name] for name in scores])
    axes.set_ylim(len(scores) - 0.5, -0.7)
    axes.margins(x=0.08)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("episode return [sum of rewards]")
    return figure


def _histogram(axes: Axes, values: np.ndarray, label: str, counted: str) -> None:
    axes.set(xlabel=label, ylabel=counted)
    mean = float(values.mean())
    if values.min() == values.max():
        axes.bar([f"always {mean:,.6g}"], [len(values)], width=0.2, color=COLORS["logged"], alpha=0.75)
        axes.set_xlim(-1, 1)
        return
    axes.hist(values, bins=40, color=COLORS["logged"], alpha=0.75)
    axes.axvline(mean, color=COLORS["baseline"], linewidth=1.5, label=f"mean {number(mean)}")
    axes.legend(loc="best")


def _discrete_actions(axes: Axes, action: np.ndarray) -> None:
    share = action.mean(axis=0)
    axes.bar(np.arange(len(share)), share, color=COLORS["logged"], alpha=0.75)
    axes.set(xlabel="discrete action, by index", ylabel="share of steps", xticks=range(len(share)))


def _actions(axes: Axes, action: np.ndarray) -> None:
    edges = np.linspace(-1, 1, 41)
    share = np.stack([np.histogram(column, edges)[0] / len(column) for column in action.T])
    if len(share) <= LINES_SHOWN:
        for i, heights in enumerate(share):
            axes.stairs(heights, edges, label=f"action[{i}]", linewidth=1.4)
        axes.set(ylabel="share of steps", ylim=(0, None))
        axes.legend(loc="best")
    else:
        axes.grid(visible=False)
        extent = (-1.0, 1.0, len(share) - 0.5, -0.5)
        image = axes.imshow(share, aspect="auto", extent=extent, cmap="cividis", vmin=0)
        axes.set_ylabel("action dimension")
        axes.figure.colorbar(image, ax=axes, label="share of steps")
    axes.set_xlabel("action [mapped to −1 … 1]")
