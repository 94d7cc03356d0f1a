"""A plant whose laboratory value is measured at some rows only: errors at true measurements, by how the log is read.

``python -m pytest tests/world_models/test_measured_values.py -s`` prints the errors.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import api
from pipeline.data.transitions import encode_transitions
from pipeline.training.config import FitConfig

RUNS, ROWS = 60, 100
LAB = 1


def plant(seed: int) -> pd.DataFrame:
    """A level that is measured in every row, and a concentration that follows level and action without noise."""
    rng, rows = np.random.default_rng(seed), []
    for run in range(RUNS):
        level, lab = rng.normal(size=2)
        for _ in range(ROWS):
            action = rng.uniform(-1, 1)
            rows.append((run, level, lab, action, -(lab**2)))
            noise = 0.05 * rng.normal()
            level, lab = 0.9 * level + 0.3 * action + noise, 0.8 * lab + 0.4 * level + 0.2 * action
    return pd.DataFrame(rows, columns=["run", "level", "lab", "action", "reward"])


@pytest.fixture(params=[0, 1, 2])
def error(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., float]:
    """The root mean square error of the predicted laboratory value at held-out measurements, in its own standard
    deviations, after reading the log with the given options."""
    truth = plant(request.param)
    true_lab = truth["lab"].to_numpy()
    first = np.arange(len(truth)) % ROWS == 0

    def of(how: str, **options: object) -> float:
        log, place = truth.copy(), np.arange(len(truth)) % ROWS
        if how == "stale":  # measured at every third row, copied to the two after it
            measured = place % 3 == 0
            log["lab"] = true_lab[np.arange(len(truth)) - place % 3]
        else:
            measured = (np.random.default_rng(request.param).random(len(truth)) > 0.3) | first
            log.loc[~measured, "lab"] = np.nan
        file = tmp_path / "log.csv"
        log.to_csv(file, index=False)
        columns = {"obs_columns": ["level", "lab"], "action_columns": ["action"], "episode_column": "run"}
        bounds = {"terminal_column": None, "action_low": [-1.0], "action_high": [1.0], "max_dropped_return": 1.0}
        dataset = api.ingest(tmp_path / "d", "table", path=str(file), **columns, **bounds, **options)
        small = {"members": 3, "elites": 3, "width": 64, "depth": 2, "seed": 0, "progress": False}
        model, _ = api.fit_world_model(dataset, fit=FitConfig(max_epochs=15), **small)
        steps = encode_transitions(dataset, "held_out", model)
        after = steps.row.numpy() + 1
        with torch.no_grad():
            step = model.draw(steps.state, steps.action, model.predict(steps.state, steps.action), None, None)
            miss = model.decode(step.state)["state"][:, LAB].numpy() - true_lab[after]
        return float(np.sqrt(np.mean(miss[measured[after]] ** 2)) / true_lab.std())

    return of


def test_a_stale_value_is_predicted_where_it_is_measured(error: Callable[..., float]) -> None:
    naive, aware = error("stale"), error("stale", update_every={"lab": 3})
    print(f"67 % stale: {naive:.3f} read as it is, {aware:.3f} with update_every")
    assert aware < 0.5 * naive


def test_a_missing_value_is_predicted_where_it_is_measured(error: Callable[..., float]) -> None:
    naive, aware = error("missing", missing="last"), error("missing", missing="mask")
    print(f"30 % missing: {naive:.3f} with missing: last, {aware:.3f} with missing: mask")
    assert aware < 0.95 * naive
