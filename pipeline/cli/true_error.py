"""``true-error``: the true error of a world model by the equations of cart-pole, in and outside the logged region."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.assessment.model_error import one_step
from pipeline.assessment.penalty_quality import fitted_penalties
from pipeline.assessment.results import Correlation
from pipeline.assessment.true_error import by_equations, by_region, densest, grid
from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.data.transitions import encode_transitions
from pipeline.envs import cartpole
from pipeline.seeding import generator
from pipeline.world_models.checkpoint import load_world_model
from pipeline.world_models.protocols import TrainableWorldModel

TASK = "pipeline.envs.wrappers:CartPoleSwingUp-v0"
ANGLE, SPIN = 1, 3  # entries of the observation
CELLS = 60  # of the grid, along each axis
ACTIONS = (-1.0, -0.5, 0.0, 0.5, 1.0)
MARGIN = 1.25  # the grid's largest angular velocity, as a multiple of the largest logged one
SHARE = 0.95  # of the logged states that the logged region contains
PENALTIES = ("ensemble_std", "disagreement", "leave_one_out_kl", "distance")
Array = NDArray[Any]
Regions = dict[str, dict[str, Correlation]]


def true_error(world_model: Path, folder: Path, seed: int, file: Path) -> Iterator[str]:
    """Compare every penalty with the true error on a grid of angles and angular velocities under several actions, with
    the cart at its median. Write the figure to ``file`` (PNG) and the numbers as JSON in the same folder, and yield a
    table. Raises ValueError for logs of another task and for a stateful world model."""
    dataset = open_dataset(folder)
    model = load_world_model(world_model)
    if dataset.spec.env_id != TASK:
        raise ValueError(
            f"{folder}: the equations of this task are not known; use the dataset of preset `cartpole-swingup`"
        )
    if model.stateful:
        raise ValueError(
            f"{world_model}: a stateful model cannot be evaluated on a grid of observations; fit `gaussian_ensemble`"
        )
    logged = dataset.flat_obs(dataset.steps("train"))
    edges = _edges(logged)
    samples = _samples(model, dataset, logged, edges, seed)
    inside = densest(logged[:, [ANGLE, SPIN]], edges, SHARE)
    correlations = by_region(samples, np.tile(inside.ravel(), len(ACTIONS)))
    _write(file, f"{dataset.spec.name}, seed {seed}", edges, samples, inside, correlations)
    yield from _table(samples, inside, correlations)
    yield f"{file}: written"


def _edges(logged: Array) -> tuple[Array, Array]:
    largest = MARGIN * np.abs(logged[:, SPIN]).max()
    return np.linspace(-np.pi, np.pi, CELLS + 1), np.linspace(-largest, largest, CELLS + 1)


def _centers(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2


def _samples(
    model: TrainableWorldModel, dataset: PreparedDataset, logged: Array, edges: tuple[Array, Array], seed: int
) -> dict[str, Array]:
    """True error and penalties (:func:`one_step`) of the grid "actions angles spins", flattened."""
    obs = np.tile(grid(logged, {ANGLE: _centers(edges[0]), SPIN: _centers(edges[1])}), (len(ACTIONS), 1))
    action = np.repeat(np.array(ACTIONS, np.float32), len(obs) // len(ACTIONS))[:, None]
    data = by_equations(model, dataset.spec.vector_keys[0], obs, action, _equations)
    penalties = fitted_penalties(encode_transitions(dataset, "train", model), seed)
    return one_step(model, data, penalties, generator(seed, "true_error", "draws"))


def _equations(obs: Array, action: Array) -> tuple[Array, Array, Array]:
    after = cartpole.step(obs, action)
    return after, cartpole.reward(after), cartpole.terminal(after)


def _table(samples: dict[str, Array], inside: Array, correlations: Regions) -> Iterator[str]:
    error, held = samples["true_error"].reshape(len(ACTIONS), -1), inside.ravel()
    yield f"median true error: {np.median(error[:, held]):.4g} inside, {np.median(error[:, ~held]):.4g} outside"
    yield f"logged region: {held.sum()} of {held.size} cells; Spearman of penalty and true error:"
    yield f"{'':20}" + "".join(f"{region:>9}" for region in correlations)
    for name in sorted(correlations["overall"], key=lambda n: -(correlations["overall"][n].spearman or 0.0)):
        yield f"{name:20}" + "".join(f"{_plain(correlations[region][name].spearman):>9}" for region in correlations)


def _plain_json(correlations: Regions) -> dict[str, dict[str, dict[str, float | None]]]:
    return {region: {name: asdict(c) for name, c in of.items()} for region, of in correlations.items()}


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _write(
    file: Path, data: str, edges: tuple[Array, Array], samples: dict[str, Array], inside: Array, correlations: Regions
) -> None:
    import matplotlib

    from pipeline.reporting.figures.style import RC, save
    from pipeline.reporting.figures.true_error import Surface, true_error_figure

    shaped = {k.removeprefix("penalty_"): v.reshape(len(ACTIONS), CELLS, CELLS) for k, v in samples.items()}
    x, y = map(_centers, edges)
    labels = ("angle from hanging [rad]", "angular velocity [rad/s]")
    surface = Surface(x, y, labels, shaped.pop("true_error"), shaped, inside)
    numbers = {n: ", ".join(f"{_plain(correlations[r][n].spearman)} {r}" for r in correlations) for n in PENALTIES}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(_plain_json(correlations), indent=2) + "\n")
    with matplotlib.rc_context(RC):
        save(true_error_figure(f"What penalties know of the true error: {data}", surface, PENALTIES, numbers), file)
