"""``true-error``: cart-pole's equations tell where a world model errs, inside the logged region and outside."""

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
CELLS, ACTIONS, REACH = 60, (-1.0, -0.5, 0.0, 0.5, 1.0), 1.25  # times the fastest logged spin
SHARE = 0.95  # of the logged states, which the logged region holds
SHOWN = ("ensemble_std", "disagreement", "leave_one_out_kl", "distance")
Array = NDArray[Any]
Regions = dict[str, dict[str, Correlation]]


def true_error(world_model: Path, folder: Path, seed: int, file: Path) -> Iterator[str]:
    """Judge every penalty on a grid of angle by spin under several actions, the cart at its median; draw ``file`` (PNG)
    with the numbers beside it as JSON, and yield their table. Raises ValueError for logs of another task, and for a
    world model that remembers."""
    dataset, model = open_dataset(folder), load_world_model(world_model)
    if dataset.spec.env_id != TASK:
        raise ValueError(f"{folder}: no equations of this task; ingest the preset `cartpole-swingup`")
    if model.stateful:
        raise ValueError(f"{world_model}: a state that remembers has no place on a grid; fit `gaussian_ensemble`")
    logged = dataset.flat_obs(dataset.steps("train"))
    edges = _edges(logged)
    samples = _samples(model, dataset, logged, edges, seed)
    inside = densest(logged[:, [ANGLE, SPIN]], edges, SHARE)
    found = by_region(samples, np.tile(inside.ravel(), len(ACTIONS)))
    _write(file, f"{dataset.spec.name}, seed {seed}", edges, samples, inside, found)
    yield from _table(samples, inside, found)
    yield f"{file}: written"


def _edges(logged: Array) -> tuple[Array, Array]:
    reach = REACH * np.abs(logged[:, SPIN]).max()
    return np.linspace(-np.pi, np.pi, CELLS + 1), np.linspace(-reach, reach, CELLS + 1)


def _centers(edges: Array) -> Array:
    return (edges[1:] + edges[:-1]) / 2


def _samples(
    model: TrainableWorldModel, dataset: PreparedDataset, logged: Array, edges: tuple[Array, Array], seed: int
) -> dict[str, Array]:
    """What :func:`one_step` says of "actions angles spins", in one row."""
    obs = np.tile(grid(logged, {ANGLE: _centers(edges[0]), SPIN: _centers(edges[1])}), (len(ACTIONS), 1))
    action = np.repeat(np.array(ACTIONS, np.float32), len(obs) // len(ACTIONS))[:, None]
    data = by_equations(model, dataset.spec.vector_keys[0], obs, action, _equations)
    penalties = fitted_penalties(encode_transitions(dataset, "train", model), seed)
    return one_step(model, data, penalties, generator(seed, "true_error", "draws"))


def _equations(obs: Array, action: Array) -> tuple[Array, Array, Array]:
    after = cartpole.step(obs, action)
    return after, cartpole.reward(after), cartpole.terminal(after)


def _table(samples: dict[str, Array], inside: Array, found: Regions) -> Iterator[str]:
    error, held = samples["true_error"].reshape(len(ACTIONS), -1), inside.ravel()
    yield f"median true error: {np.median(error[:, held]):.4g} inside, {np.median(error[:, ~held]):.4g} outside"
    yield f"logged region: {held.sum()} of {held.size} cells; Spearman of penalty and true error:"
    yield f"{'':20}" + "".join(f"{region:>9}" for region in found)
    for name in sorted(found["overall"], key=lambda n: -(found["overall"][n].spearman or 0.0)):
        yield f"{name:20}" + "".join(f"{_plain(found[region][name].spearman):>9}" for region in found)


def _plain_json(found: Regions) -> dict[str, dict[str, dict[str, float | None]]]:
    return {region: {name: asdict(c) for name, c in of.items()} for region, of in found.items()}


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _write(
    file: Path, data: str, edges: tuple[Array, Array], samples: dict[str, Array], inside: Array, found: Regions
) -> None:
    import matplotlib

    from pipeline.reporting.figures.style import RC, save
    from pipeline.reporting.figures.true_error import Surface, true_error_figure

    shaped = {k.removeprefix("penalty_"): v.reshape(len(ACTIONS), CELLS, CELLS) for k, v in samples.items()}
    x, y = map(_centers, edges)
    labels = ("angle from hanging [rad]", "angular velocity [rad/s]")
    surface = Surface(x, y, labels, shaped.pop("true_error"), shaped, inside)
    numbers = {n: ", ".join(f"{_plain(found[r][n].spearman)} {r}" for r in found) for n in SHOWN}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(_plain_json(found), indent=2) + "\n")
    with matplotlib.rc_context(RC):
        save(true_error_figure(f"What penalties know of the true error: {data}", surface, SHOWN, numbers), file)
