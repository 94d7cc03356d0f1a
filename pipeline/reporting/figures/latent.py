"""What a world model with latents sees, imagines and keeps in mind; no figure for a model without."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting.figures.film import strips
from pipeline.reporting.figures.style import COLORS, CYCLE, log_scale, panels, seed_curves
from pipeline.reporting.results import Results

STEPS_SHOWN = (1, 2, 5, 10, 15, 20, 30, 50)  # of imagination, as frames
FEATURES_SHOWN = 6
ENTROPIES = {"posterior_entropy": "model", "prior_entropy": "imagined"}  # and their colors; a point has none
LEAST_SHOWN = 1e-4  # activity: units below stand at the axis


def frames_figure(results: Results) -> Figure | None:
    """Film strips of held-out windows: truth, prediction and their difference, first frames that the model saw, then
    steps it imagined. None for logs without images."""
    found, images = results.first_latents, results.dataset.spec.image_keys
    if found is None or not images:
        return None
    context = int(found["context"])
    frames = sorted({0, context, *(context + h for h in STEPS_SHOWN if context + h < len(found["kl"]))})
    rows = [row for strip in strips(found, images) for row in strip.items()]
    figure, grid = panels(_title(results, "Open-loop film"), len(rows) * len(frames), columns=len(frames), height=0.85)
    for i, axes in enumerate(grid):
        (name, film), frame = rows[i // len(frames)], frames[i % len(frames)]
        axes.imshow(film[frame].squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=COLORS["logged" if frame <= context else "model"])
        if i < len(frames):
            axes.set_title(f"seen {frame}" if frame <= context else f"+{frame - context}", fontsize=8)
        if frame == 0:
            axes.set_ylabel(name, fontsize=7)
    return figure


def trajectories_figure(results: Results) -> Figure | None:
    """Every feature along held-out windows, a column for each window. None for logs of images alone."""
    found, spec = results.first_latents, results.dataset.spec
    if found is None or not spec.vector_keys:
        return None
    names = [name for key in spec.vector_keys for name in spec.obs_names[key]][:FEATURES_SHOWN]
    truth, said = (
        np.concatenate([found[f"{kind}_{k}"] for k in spec.vector_keys], -1) for kind in ("true", "predicted")
    )
    figure, grid = panels(
        _title(results, "Open-loop trajectories"), len(names) * len(truth), columns=len(truth), height=1.25
    )
    for i, axes in enumerate(grid):
        feature, window = divmod(i, len(truth))
        axes.axvspan(0, int(found["context"]), color="#eeeeee", label="seen" if i == 0 else None)
        axes.plot(truth[window, :, feature], color=COLORS["logged"], label="truth" if i == 0 else None)
        axes.plot(said[window, :, feature], color=COLORS["model"], label="prediction" if i == 0 else None)
        if window == 0:
            axes.set_ylabel(names[feature], fontsize=8)
        if feature == len(names) - 1:
            axes.set_xlabel("step of the window")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def steps_figure(results: Results) -> Figure | None:
    """Error of the decoded posterior beside that of imagination, divergence and entropies by step."""
    if results.first_latents is None:
        return None
    entropies = {key: color for key, color in ENTROPIES.items() if key in results.first_latents}
    figure, grid = panels(f"Filtering and imagining: {results.title}", 3 if entropies else 2, columns=3, height=2.8)
    _errors(grid[0], results)
    kl = _by_step(results, "kl")
    seed_curves(grid[1], kl, COLORS["model"], "KL(posterior ‖ prior)")
    if min(y.min() for _, y in kl) > 0:
        log_scale(grid[1], "y")  # what the first frame tells would hide all others
    for key, color in entropies.items():
        seed_curves(grid[2], _by_step(results, key), COLORS[color], key.split("_")[0])
    for axes, label in zip(grid[1:], ("divergence [nats]", "entropy [nats]"), strict=False):
        axes.set(xlabel="steps since the window began", ylabel=label)
        axes.legend(loc="upper right")
    return figure


def _by_step(results: Results, key: str) -> list[tuple[Any, Any]]:
    return [(np.arange(len(found[key])), found[key]) for found in results.latents.values()]


def _errors(axes: Axes, results: Results) -> None:
    horizons = next(iter(results.errors.values()))["horizons"]
    imagined = [(horizons, e["model_rmse"]) for e in results.errors.values()]
    at = np.array(horizons)
    seen = [(horizons, f["reconstruction_rmse"][int(f["context"]) + at]) for f in results.latents.values()]
    seed_curves(axes, imagined, COLORS["imagined"], "imagined (prior)")
    seed_curves(axes, seen, COLORS["model"], "seen (posterior)")
    log_scale(axes, "x")
    axes.set_xticks(horizons)
    axes.set(xlabel="horizon [steps]", ylabel=f"RMSE [{results.error_unit}]")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def states_figure(results: Results) -> Figure | None:
    """How much each latent tells, with the threshold of an active one, and filtered states colored by reward."""
    found = results.first_latents
    if found is None:
        return None
    figure, (units, states) = panels(_title(results, "Latents and states"), 2)
    _activity(units, results)
    x, y = found["points"].T
    drawn = states.scatter(x, y, c=found["reward"], s=4, linewidths=0, cmap="viridis")
    figure.colorbar(drawn, ax=states, label="reward [per step]")
    first, second = found["shares"]
    states.set(xlabel=f"component 1 ({first:.0%} of variance)", ylabel=f"component 2 ({second:.0%} of variance)")
    return figure


def _activity(axes: Axes, results: Results) -> None:
    for i, (seed, f) in enumerate(results.latents.items()):
        told = np.sort(np.maximum(f["activity"], LEAST_SHOWN))[::-1]
        active = int((f["activity"] > f["active_above"]).sum())
        label = f"seed {seed}: {active} of {len(told)} active"
        axes.plot(np.arange(1, len(told) + 1), told, "o-", markersize=3, color=CYCLE[i % len(CYCLE)], label=label)
    axes.axhline(float(f["active_above"]), color=COLORS["baseline"], linestyle="--", label="active above")
    axes.set(yscale="log", xlabel="latents, most active first")
    axes.set_ylabel("entropy of class usage [nats]" if f["classes"] > 1 else "variance of mean / prior variance")
    axes.legend(loc="best")


def _title(results: Results, what: str) -> str:
    """Of several seeds, windows and states of the first are shown."""
    return f"{what}: {results.dataset.spec.name}, seed {results.seeds[0]}"
