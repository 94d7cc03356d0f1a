"""The dataset at a glance, as numbers for reports/metrics/dataset.json."""

from typing import Any

import numpy as np

from pipeline.data.store import PreparedDataset

SATURATED = 0.99  # of the way to a bound
QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}


def card(dataset: PreparedDataset) -> dict[str, Any]:
    """Counts, raw returns, episode lengths, bounds, digest and warnings. ``action_saturation`` is the share of steps of
    which each action lies within 1 % of a bound; ``references`` are null without any."""
    spec = dataset.spec
    return {
        "name": spec.name,
        "source": spec.source,
        "digest": spec.digest,
        "env_id": spec.env_id,
        "licence": spec.licence,
        "transitions": spec.transitions,
        "train_transitions": len(dataset.steps("train")),
        "held_out_transitions": len(dataset.steps("held_out")),
        "episodes": spec.episodes,
        "held_out_episodes": spec.held_out_episodes,
        "dropped": spec.dropped,
        "terminals": spec.terminals,
        "obs_dim": spec.obs_dim,
        "action_dim": spec.action_dim,
        "returns": _distribution(dataset.episode_returns("all")),
        "train_returns": _distribution(dataset.episode_returns("train")),
        "held_out_returns": _distribution(dataset.episode_returns("held_out")),
        "lengths": _distribution(dataset.episode_lengths("all")),
        "reward": {"min": spec.reward_min, "max": spec.reward_max, "mean": spec.reward_mean, "std": spec.reward_std},
        "action_bounds": {"kind": spec.action_bounds, "low": spec.action_low, "high": spec.action_high},
        "action_saturation": (np.abs(dataset.action[dataset.steps("all")]) > SATURATED).mean(axis=0).tolist(),
        "constant_features": spec.constant_features,
        "references": {"min": spec.ref_min_score, "max": spec.ref_max_score, "source": spec.ref_source},
        "warnings": spec.warnings,
    }


def _distribution(values: np.ndarray) -> dict[str, float]:
    quantiles = {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
    return {"mean": float(values.mean()), "std": float(values.std()), **quantiles}
