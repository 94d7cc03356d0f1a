"""Errors of predictions that run on alone under the logged actions, beside simple baselines."""

from collections.abc import Iterable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from pipeline.assessment.horizon import QUANTILE, SHARE, distance_apart, trusted_horizon
from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import HORIZONS, Scale, replay
from pipeline.protocols import WorldModel
from pipeline.types import Segments


@torch.no_grad()
def open_loop(
    model: WorldModel,
    batches: Iterable[Segments],
    scale: Scale,
    context: int,
    linear: LinearBaseline | None = None,
) -> dict[str, Any]:
    """Errors of replaying logged actions on held-out windows, "h" steps after ``context`` real ones.

    Root mean square of the decoded observation's error in units of :class:`Scale`, beside persistence ("nothing
    changes") and linear regression; mean absolute error of the reward, beside always saying the mean and the same
    regression. Every horizon averages over the same windows, and every model is asked about the same. ``trust`` holds
    the horizon of :mod:`pipeline.assessment.horizon` and the quantiles that it goes by, for every step.
    """
    squares: list[Tensor] = []  # of model, persistence and perhaps the regression, "K B H"
    rewards: list[Tensor] = []  # true, predicted and perhaps the regression's, "K B H"
    apart: list[Tensor] = []
    for windows in batches:
        rollout = replay(model, windows, context)
        truth = scale({k: v[:, context:] for k, v in windows.obs.items()})
        said = scale(model.decode(rearrange(rollout.state[:, 1:], "b h z -> (b h) z")))
        told = [rearrange(said, "(b h) d -> b h d", b=len(windows)), truth[:, :1]]
        earned = [windows.reward[:, context:], rollout.reward]
        if linear is not None:
            seen, reward = linear.rollout(scale.flat(windows.obs)[:, context], windows.action[:, context:])
            told, earned = [*told, seen / scale.std], [*earned, reward]
        squares.append(torch.stack([(x - truth[:, 1:]).square().mean(-1) for x in told]))
        rewards.append(torch.stack(earned))
        apart.append(distance_apart(truth[:, 1:]))
    return _summary(torch.cat(squares, 1), torch.cat(rewards, 1), torch.cat(apart), context)


def _summary(square: Tensor, reward: Tensor, apart: Tensor, context: int) -> dict[str, Any]:
    true = reward[0]
    horizons = [h for h in HORIZONS if h <= true.shape[1]]
    at = [h - 1 for h in horizons]
    rmse = [x.mean(0).sqrt()[at].tolist() for x in square]
    mae = [(x - true).abs().mean(0)[at].tolist() for x in (reward[1], true.mean(), *reward[2:])]
    found: dict[str, Any] = {"horizons": horizons, "context": context}
    names = ("model_rmse", "persistence_rmse", "linear_rmse")
    found |= dict(zip(names, rmse, strict=False))
    found |= dict(zip(("reward_mae", "reward_baseline_mae", "reward_linear_mae"), mae, strict=False))
    error, far = square.sqrt().quantile(QUANTILE, dim=1), float(apart.median())
    trust = {
        "horizon": trusted_horizon(error[0], error[1], far),
        "horizon_measured": true.shape[1],
        "quantile": QUANTILE,
        "model_error": error[0].tolist(),
        "persistence_error": error[1].tolist(),
        "apart": far,
        "share": SHARE,
    }
    return found | {"windows": len(true), "trust": trust}
