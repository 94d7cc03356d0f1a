"""How wrong a world model is: open loop on held-out windows, and whether its penalty knows."""

from typing import Any

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from pipeline.imagination import Imagination
from pipeline.interfaces import WorldModel
from pipeline.types import Prediction, Transitions

HORIZONS = [1, 2, 5, 10, 20, 50]
ROWS = 512  # rows predicted at once


def open_loop(imagination: Imagination, states: Tensor, actions: Tensor, rewards: Tensor) -> dict[str, Any]:
    """Errors of replaying logged actions from logged states: states "N H+1 Z", actions "N H A", rewards "N H".

    Root mean square of the state error in standardised units, beside persistence ("nothing changes"); mean absolute
    error of the reward, beside always saying the mean. The members' mean is rolled forward, without noise. A window
    that the model believes to have ended goes on, so that every horizon averages over the same windows.
    """
    predicted_state, predicted_reward = _replay(imagination.model, states[:, 0], actions)
    horizons = [h for h in HORIZONS if h <= actions.shape[1]]
    rms = lambda a, b: float((a - b).square().mean().sqrt())  # noqa: E731
    mae = lambda a, b: float((a - b).abs().mean())  # noqa: E731
    return {
        "horizons": horizons,
        "model_rmse": [rms(predicted_state[:, h], states[:, h]) for h in horizons],
        "persistence_rmse": [rms(states[:, 0], states[:, h]) for h in horizons],
        "reward_mae": [mae(predicted_reward[:, h - 1], rewards[:, h - 1]) for h in horizons],
        "reward_baseline_mae": [mae(rewards.mean(), rewards[:, h - 1]) for h in horizons],
        "windows": len(states),
    }


@torch.no_grad()
def _replay(model: WorldModel, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """The logged actions as an actor, in chunks: states "N H+1 Z" and rewards "N H"."""
    replay = Imagination(model, _no_penalty)
    parts = []
    for start, plan in zip(state.split(ROWS), actions.split(ROWS), strict=True):
        parts.append(replay.rollout(lambda s, t, g, plan=plan: plan[:, t], start, plan.shape[1], None))  # type: ignore[misc]
    return torch.cat([p.state for p in parts]), torch.cat([p.reward for p in parts])


def _no_penalty(model: WorldModel, prediction: Prediction) -> Tensor:
    return torch.zeros_like(prediction.mean[0, :, 0])


@torch.no_grad()
def one_step(model: Any, data: Transitions, penalties: dict[str, Any]) -> dict[str, np.ndarray]:
    """On each transition: ``true_error``, the root mean square of the ensemble mean's standardised error times the
    reward's spread (the unit of the penalties), and ``penalty_<name>``."""
    samples: dict[str, list[Tensor]] = {"true_error": [], **{f"penalty_{n}": [] for n in penalties}}
    for i in range(0, len(data), ROWS):
        batch = data[i : i + ROWS]
        prediction = model.predict(batch.state, batch.action)
        error = (prediction.mean[model.elites].mean(0) - model.targets(batch)).square().mean(-1).sqrt()
        samples["true_error"].append(error * model.reward_scale)
        for name, penalty in penalties.items():
            samples[f"penalty_{name}"].append(penalty(model, prediction))
    return {k: torch.cat(v).numpy() for k, v in samples.items()}


def ranking(samples: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Spearman and Pearson correlation of every penalty with the true error (Lu et al. 2022)."""
    truth, found = samples["true_error"], {}
    for key in sorted(k for k in samples if k.startswith("penalty_")):
        spearman, pearson = spearmanr(samples[key], truth).statistic, pearsonr(samples[key], truth).statistic
        found[key.removeprefix("penalty_")] = {"spearman": float(spearman), "pearson": float(pearson)}
    return found


@torch.no_grad()
def termination_quality(model: Any, data: Transitions) -> dict[str, float | int | None]:
    """Precision and recall of "this step is terminal" on logged transitions; None where undefined."""
    parts = [data[i : i + ROWS] for i in range(0, len(data), ROWS)]
    said = [model.termination.continue_prob(p.state, p.action, p.next_state) < 0.5 for p in parts]
    predicted, truth = torch.cat(said), data.terminal.bool()
    hits, claims, positives = int((predicted & truth).sum()), int(predicted.sum()), int(truth.sum())
    return {
        "precision": hits / claims if claims else None,
        "recall": hits / positives if positives else None,
        "positives": positives,
    }
