"""Figures of a world model with latents; none for a model without latents."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figures.film import strips
from pipeline.reporting.figures.scales import log_scale
from pipeline.reporting.figures.style import COLORS, CYCLE, Curve, newest_frame, panels, seed_curves
from pipeline.reporting.results import Results

STEPS_SHOWN = (1, 2, 5, 10, 15, 20, 30, 50)  # imagined steps drawn as frames
FEATURES_SHOWN = 6
ENTROPIES = {"posterior_entropy": "model", "prior_entropy": "imagined"}  # colors; a point latent has no entropies
LEAST_SHOWN = 1e-4  # smaller activities are drawn as this


def frames_figure(results: Results) -> Figure | None:
    """Film strips of held-out windows: truth, prediction and their difference, first for observed frames, then for
    imagined steps. None for logs without images."""
    latents, images = results.first_latents, results.dataset.spec.image_keys
    if latents is None or not images:
        return None
    context = int(latents["context"])
    frames = sorted({0, context, *(context + h for h in STEPS_SHOWN if context + h < len(latents["kl"]))})
    rows = [row for strip in strips(latents, images) for row in strip.items()]
    figure, grid = panels(_title(results, "Open-loop film"), len(rows) * len(frames), columns=len(frames), height=0.85)
    for i, axes in enumerate(grid):
        (name, film), frame = rows[i // len(frames)], frames[i % len(frames)]
        axes.imshow(newest_frame(film[frame]), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=COLORS["logged" if frame <= context else "model"])
        if i < len(frames):
            axes.set_title(f"observed {frame}" if frame <= context else f"+{frame - context}", fontsize=8)
        if frame == 0:
            axes.set_ylabel(name, fontsize=7)
    return figure


def trajectories_figure(results: Results) -> Figure | None:
    """Features along held-out windows, one column for each window. None for logs of images alone."""
    latents, spec = results.first_latents, results.dataset.spec
    if latents is None or not spec.vector_keys:
        return None
    names = [name for key in spec.vector_keys for name in spec.obs_names[key]][:FEATURES_SHOWN]
    truth = np.concatenate([latents[f"true_{key}"] for key in spec.vector_keys], -1)
    predicted = np.concatenate([latents[f"predicted_{key}"] for key in spec.vector_keys], -1)
    figure, grid = panels(
        _title(results, "Open-loop trajectories"), len(names) * len(truth), columns=len(truth), height=1.25
    )
    for i, axes in enumerate(grid):
        feature, window = divmod(i, len(truth))
        axes.axvspan(0, int(latents["context"]), color="#eeeeee", label="observed" if i == 0 else None)
        axes.plot(truth[window, :, feature], color=COLORS["logged"], label="truth" if i == 0 else None)
        axes.plot(predicted[window, :, feature], color=COLORS["model"], label="prediction" if i == 0 else None)
        if window == 0:
            axes.set_ylabel(spec.label(names[feature]), fontsize=8)
        if feature == len(names) - 1:
            axes.set_xlabel("step of the window")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def steps_figure(results: Results) -> Figure | None:
    """Error of the decoded posterior beside that of imagination; KL and entropies by step."""
    if results.first_latents is None:
        return None
    entropies = {key: color for key, color in ENTROPIES.items() if key in results.first_latents}
    figure, grid = panels(f"Filtering and imagining: {results.title}", 3 if entropies else 2, columns=3, height=2.8)
    _errors(grid[0], results)
    kl = _by_step(results, "kl")
    seed_curves(grid[1], kl, COLORS["model"], "KL(posterior ‖ prior)")
    if min(y.min() for _, y in kl) > 0:
        log_scale(grid[1], "y")  # the first frame's KL is far larger than all others
    for key, color in entropies.items():
        seed_curves(grid[2], _by_step(results, key), COLORS[color], key.split("_")[0])
    for axes, label in zip(grid[1:], ("KL [nats]", "entropy [nats]"), strict=False):
        axes.set(xlabel="step of the window", ylabel=label)
        axes.legend(loc="best")
    return figure


def _by_step(results: Results, key: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.arange(len(latents[key])), latents[key]) for latents in results.latents.values()]


def _errors(axes: Axes, results: Results) -> None:
    horizons = np.array(results.first_errors.horizons)
    imagined: list[Curve] = [(horizons, np.array(e.model_rmse)) for e in results.errors.values()]
    observed: list[Curve] = [
        (horizons, latents["reconstruction_rmse"][int(latents["context"]) + horizons])
        for latents in results.latents.values()
    ]
    seed_curves(axes, imagined, COLORS["imagined"], "imagined (prior)")
    seed_curves(axes, observed, COLORS["model"], "observed (posterior)")
    log_scale(axes, "x")
    axes.set_xticks(horizons)
    axes.set(xlabel="horizon [steps]", ylabel=f"RMSE [{results.error_unit}]")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def states_figure(results: Results) -> Figure | None:
    """Activity of each latent with the threshold of an active one, and filtered states colored by reward."""
    latents = results.first_latents
    if latents is None:
        return None
    figure, (units, states) = panels(_title(results, "Latents and states"), 2)
    _activity(units, results)
    x, y = latents["points"].T
    points = states.scatter(x, y, c=latents["reward"], s=4, linewidths=0, cmap="viridis")
    figure.colorbar(points, ax=states, label="reward [per step]")
    first, second = latents["shares"]
    states.set(xlabel=f"component 1 ({first:.0%} of variance)", ylabel=f"component 2 ({second:.0%} of variance)")
    return figure


def _activity(axes: Axes, results: Results) -> None:
    for i, (seed, latents) in enumerate(results.latents.items()):
        activity = np.sort(np.maximum(latents["activity"], LEAST_SHOWN))[::-1]
        active = int((latents["activity"] > latents["active_above"]).sum())
        label = f"seed {seed}: {active} of {len(activity)} active"
        color = CYCLE[i % len(CYCLE)]
        axes.plot(np.arange(1, len(activity) + 1), activity, "o-", markersize=3, color=color, label=label)
    axes.axhline(float(latents["active_above"]), color="#333333", linestyle="--", label="active above")
    axes.set(yscale="log", xlabel="latents, most active first")
    axes.set_ylabel("entropy of class usage [nats]" if latents["classes"] > 1 else "variance of mean / prior variance")
    axes.legend(loc="best")


def _title(results: Results, what: str) -> str:
    """A title that names the first seed, whose windows and states are shown."""
    return f"{what}: {results.dataset.spec.name}, seed {results.seeds[0]}"
