"""Errors of open-loop predictions under the logged actions, beside simple baselines."""

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor

from pipeline.assessment.horizon import QUANTILE, SHARE, distance_apart, trusted_horizon
from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import HORIZONS, Scale, mean_square, replay
from pipeline.assessment.results import OpenLoopErrors, Trust
from pipeline.protocols import WorldModel
from pipeline.types import Segments
from pipeline.validation.pace import paced


@torch.no_grad()
def open_loop(
    model: WorldModel,
    batches: Iterable[Segments],
    scale: Scale,
    context: int,
    linear: LinearBaseline | None = None,
) -> OpenLoopErrors:
    """Errors of replaying logged actions on held-out windows, h steps after ``context`` real ones.

    Observations: root mean square error of the decoded observation in units of :class:`Scale`, beside persistence
    ("nothing changes") and linear regression. Reward: mean absolute error, beside the mean reward and the same
    regression. Every horizon averages over the same windows, and all models predict the same windows.
    """
    squares: list[Tensor] = []  # of model, persistence and perhaps the regression, "K B H"
    rewards: list[Tensor] = []  # true, predicted and perhaps the regression's, "K B H"
    apart: list[Tensor] = []
    for windows in paced(batches, "open-loop errors: {} batches"):
        rollout = replay(model, windows, context, scale)
        after = {k: v[:, context:] for k, v in windows.obs.items()}
        truth, measured = scale(after), scale.measured({k: v[:, 1:] for k, v in after.items()})
        decoded = scale(model.decode(rearrange(rollout.state[:, 1:], "b h z -> (b h) z")))
        predictions = [rearrange(decoded, "(b h) d -> b h d", b=len(windows)), truth[:, :1]]
        batch_rewards = [windows.reward[:, context:], rollout.reward]
        if linear is not None:
            obs, reward = linear.rollout(scale.flat(after), windows.action[:, context:])
            predictions.append(scale.of_flat(obs))
            batch_rewards.append(reward)
        squares.append(torch.stack([mean_square(x - truth[:, 1:], measured) for x in predictions]))
        rewards.append(torch.stack(batch_rewards))
        apart.append(distance_apart(truth[:, 1:]))
    return _summary(torch.cat(squares, 1), torch.cat(rewards, 1), torch.cat(apart), context)


def _summary(square: Tensor, reward: Tensor, apart: Tensor, context: int) -> OpenLoopErrors:
    true = reward[0]
    horizons = [h for h in HORIZONS if h <= true.shape[1]]
    at = [h - 1 for h in horizons]
    rmse = [x.mean(0).sqrt()[at].tolist() for x in square]
    mae = [(x - true).abs().mean(0)[at].tolist() for x in (reward[1], true.mean(), *reward[2:])]
    error = square.sqrt().quantile(QUANTILE, dim=1)
    median_apart = float(apart.median())
    trust = Trust(
        horizon=trusted_horizon(error[0], error[1], median_apart),
        horizon_measured=true.shape[1],
        quantile=QUANTILE,
        model_error=error[0].tolist(),
        persistence_error=error[1].tolist(),
        apart=median_apart,
        share=SHARE,
    )
    return OpenLoopErrors(
        horizons=horizons,
        context=context,
        model_rmse=rmse[0],
        persistence_rmse=rmse[1],
        linear_rmse=rmse[2] if len(rmse) > 2 else None,
        reward_mae=mae[0],
        reward_baseline_mae=mae[1],
        reward_linear_mae=mae[2] if len(mae) > 2 else None,
        windows=len(true),
        trust=trust,
    )
