"""Predictions under other weather: a model of a heated room that takes the weather, and one that predicts it.

``python -m pytest tests/world_models/test_weather.py -s`` prints the errors.
"""

from pathlib import Path

import pytest
import torch

from pipeline import api
from pipeline.assessment.assess import context_of, whole_windows
from pipeline.assessment.model_error import Scale, replay
from pipeline.data.dataset import PreparedDataset
from pipeline.envs.heated_room import EXOGENOUS
from pipeline.training.config import FitConfig
from pipeline.world_models.protocols import TrainableWorldModel

ROOM = "pipeline.envs.wrappers:HeatedRoom-v0"
AHEAD = 20  # steps, five hours
BEHAVIORS = [{"name": "thermostat", "share": 0.6, "noise": 2.0}, {"name": "random", "share": 0.4}]


def days(folder: Path, weather: str, exogenous: bool, seed: int) -> PreparedDataset:
    columns = list(EXOGENOUS) if exogenous else []
    options = {"env_id": ROOM, "env_kwargs": {"weather": weather}, "exogenous_columns": columns}
    return api.ingest(folder, "collect", **options, episodes=60, seed=seed, behaviors=BEHAVIORS, held_out_fraction=0.3)


@torch.no_grad()
def air_error(model: TrainableWorldModel, logs: PreparedDataset) -> float:
    """Root mean square error of the air's temperature in K, ``AHEAD`` steps ahead, on held-out days."""
    scale, context = Scale(logs.spec.obs_shapes, model.data_spec.statistics), context_of(logs)
    misses = []
    for windows in whole_windows(logs, context, 0):
        predicted = model.decode(replay(model, windows, context, scale).state[:, AHEAD])["air"]
        misses.append(predicted - windows.obs["air"][:, context + AHEAD])
    return float(torch.cat(misses).square().mean().sqrt())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_model_that_takes_the_weather_holds_in_another_season(seed: int, tmp_path: Path) -> None:
    errors = {}
    for role in ("given", "predicted"):
        winter, spring = (days(tmp_path / w, w, role == "given", seed) for w in ("winter", "spring"))
        small = {"members": 3, "elites": 3, "width": 64, "depth": 2, "seed": seed, "progress": False}
        model, _ = api.fit_world_model(winter, fit=FitConfig(max_epochs=25), **small)
        errors[role] = [air_error(model, logs) for logs in (winter, spring)]
        print(f"weather {role}: {errors[role][0]:.2f} K in winter, {errors[role][1]:.2f} K in spring")
    assert errors["given"][0] < 0.5 * errors["predicted"][0]
    assert errors["given"][1] < 0.5 * errors["predicted"][1]
