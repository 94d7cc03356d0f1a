"""One-step errors of a world model by feature of the observation."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import ROWS
from pipeline.assessment.results import FeatureError
from pipeline.encoders.statistics import Statistics, measured_features, moments
from pipeline.protocols import WorldModel
from pipeline.types import Transitions


@torch.no_grad()
def feature_errors(
    model: WorldModel,
    data: Transitions,
    obs: Annotated[Tensor, "B O"],
    next_obs: Annotated[Tensor, "B O"],
    names: list[str],
    linear: LinearBaseline | None,
    statistics: Statistics,
) -> list[FeatureError]:
    """Errors of each predicted feature that changes in these steps, and of the reward, the largest error first.

    ``obs`` and ``next_obs`` are the raw vector observations before and after the steps of ``data``, ``names`` those of
    their entries. R2 is one minus the mean square error over that of persistence, which predicts no change and the mean
    reward. A flagged feature counts where it was measured.
    """
    measured = F.pad(measured_features(next_obs, statistics.flags), (0, 1), value=1.0)  # and every reward
    truth = torch.cat([next_obs, data.reward[:, None]], dim=1)
    persistence = torch.cat([obs, data.reward.mean().expand(len(data), 1)], dim=1)
    spread = moments(truth - persistence, measured)[1]
    predicted = torch.cat([_expected(model, batch) for batch in data.split(ROWS)])
    model_mse = moments((predicted - truth).square(), measured)[0]
    persistence_mse = moments((persistence - truth).square(), measured)[0]
    linear_mse = None
    if linear is not None:
        linear_obs, linear_reward = linear.step(obs, data.action)
        linear_mse = moments((torch.cat([linear_obs, linear_reward[:, None]], dim=1) - truth).square(), measured)[0]

    def rmse(mse: Tensor, i: int) -> float:
        return float(mse[i].sqrt() / spread[i])

    def r2(mse: Tensor, i: int) -> float:
        return float(1 - mse[i] / persistence_mse[i])

    errors = [
        FeatureError(
            name=name,
            rmse=rmse(model_mse, i),
            persistence_rmse=rmse(persistence_mse, i),
            linear_rmse=None if linear_mse is None else rmse(linear_mse, i),
            r2=r2(model_mse, i),
            linear_r2=None if linear_mse is None else r2(linear_mse, i),
        )
        for i, name in enumerate([*names, "reward"])
        if spread[i] > 0 and i not in statistics.exogenous
    ]
    return sorted(errors, key=lambda error: -error.rmse)


def _expected(model: WorldModel, batch: Transitions) -> Tensor:
    """Next vector observation and reward that the members predict on average, "B O+1"."""
    step = model.draw(batch.state, batch.action, model.predict(batch.state, batch.action), None, None)
    vectors = [x for _, x in sorted(model.decode(step.state).items()) if x.dim() == 2]
    return torch.cat([*vectors, step.reward[:, None]], dim=1)
