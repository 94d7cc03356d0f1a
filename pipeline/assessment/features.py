"""Which feature of the next observation a world model gets wrong."""

from typing import Annotated, Any

import torch
from torch import Tensor

from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import ROWS
from pipeline.protocols import WorldModel
from pipeline.types import Transitions

Row = dict[str, Any]


@torch.no_grad()
def feature_errors(
    model: WorldModel,
    data: Transitions,
    obs: Annotated[Tensor, "B O"],
    next_obs: Annotated[Tensor, "B O"],
    names: list[str],
    linear: LinearBaseline | None,
) -> list[Row]:
    """One row for each feature that changes in these steps, and for the reward, the largest error first.

    ``obs`` and ``next_obs`` are the raw vector observations around the steps of ``data``, ``names`` theirs. Root mean
    square errors of one step are in standard deviations of the feature's change (of the reward itself). R2 is one
    minus the mean square error over that of persistence: nothing changes, the reward is its mean. None without
    ``linear``.
    """
    said = [_said(model, batch) for batch in data.split(ROWS)]
    truth = torch.cat([next_obs, data.reward[:, None]], dim=1)
    still = torch.cat([obs, data.reward.mean().expand(len(data), 1)], dim=1)
    spread = (truth - still).std(0, correction=0)
    told: dict[str, Tensor | None] = {"": torch.cat(said), "persistence_": still, "linear_": None}
    if linear is not None:
        after, reward = linear.step(obs, data.action)
        told["linear_"] = torch.cat([after, reward[:, None]], dim=1)
    square = {k: None if x is None else (x - truth).square().mean(0) for k, x in told.items()}
    floor = square["persistence_"]
    assert floor is not None
    rows = []
    for i, name in enumerate([*names, "reward"]):
        if spread[i] > 0:
            errors = {f"{k}rmse": None if s is None else float(s[i].sqrt() / spread[i]) for k, s in square.items()}
            shares = {f"{k}r2": None if s is None else float(1 - s[i] / floor[i]) for k, s in square.items()}
            rows.append({"name": name, **errors, "r2": shares["r2"], "linear_r2": shares["linear_r2"]})
    return sorted(rows, key=lambda row: -row["rmse"])


def _said(model: WorldModel, batch: Transitions) -> Tensor:
    """Next vector observation and reward that the members expect together, "B O+1"."""
    step = model.draw(batch.state, batch.action, model.predict(batch.state, batch.action), None, None)
    vectors = [x for _, x in sorted(model.decode(step.state).items()) if x.dim() == 2]
    return torch.cat([*vectors, step.reward[:, None]], dim=1)
