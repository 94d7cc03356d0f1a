"""Summary numbers of a dataset, for reports/metrics/dataset.json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.checks.basics import SATURATED
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.statistics import CHUNK

QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}


def card(dataset: PreparedDataset, checks: Sequence[CheckResult]) -> dict[str, Any]:
    """Counts, raw returns, episode lengths, bounds, digest, warnings, and the checks without the lists for figures.

    ``action_saturation`` is, for each action, the share of steps within 1 % of a bound; it is empty for discrete
    actions. ``references`` are null if there are none.
    """
    spec = dataset.spec
    return {
        "name": spec.name,
        "source": spec.source,
        "digest": spec.digest,
        "env_id": spec.env_id,
        "license": spec.license,
        "transitions": spec.transitions,
        "train_transitions": int(dataset.episode_lengths("train").sum()),
        "held_out_transitions": int(dataset.episode_lengths("held_out").sum()),
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
        "action_saturation": _saturation(dataset).tolist(),
        "constant_features": spec.constant_features,
        "references": {"min": spec.ref_min_score, "max": spec.ref_max_score, "source": spec.ref_source},
        "warnings": spec.warnings,
        "checks": {result.name: _scalars(result) for result in checks},
    }


def _saturation(dataset: PreparedDataset) -> np.ndarray:
    """Share of steps "A". Rows of final observations hold action 0, so they add nothing to the count."""
    if dataset.spec.action_kind == DISCRETE:
        return np.zeros(0)
    action, count = dataset.action, np.zeros(dataset.spec.action_dim, np.int64)
    for start in range(0, len(action), CHUNK):
        count += (np.abs(action[start : start + CHUNK]) > SATURATED).sum(axis=0)
    return count / dataset.spec.transitions


def _scalars(result: CheckResult) -> dict[str, Any]:
    evidence = {k: v for k, v in result.evidence.items() if not isinstance(v, list)}
    return {**asdict(result), "evidence": evidence}


def _distribution(values: np.ndarray) -> dict[str, float]:
    quantiles = {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
    return {"mean": float(values.mean()), "std": float(values.std()), **quantiles}
