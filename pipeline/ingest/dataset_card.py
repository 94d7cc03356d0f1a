"""The dataset at a glance, as numbers for reports/metrics/dataset.json."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.checks.basics import SATURATED
from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.statistics import CHUNK

QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}


def card(dataset: PreparedDataset, found: Sequence[Finding]) -> dict[str, Any]:
    """Counts, raw returns, episode lengths, bounds, digest, warnings, and what was ``found`` without the lists that are
    for figures. ``action_saturation`` is the share of steps of which each action lies within 1 % of a bound, empty
    where actions are discrete; ``references`` are null without any."""
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
        "findings": {finding.name: _scalars(finding) for finding in found},
    }


def _saturation(dataset: PreparedDataset) -> np.ndarray:
    """Share of steps "A"; rows of final observations hold action 0, so they do not count."""
    if dataset.spec.action_kind == DISCRETE:
        return np.zeros(0)
    action, count = dataset.action, np.zeros(dataset.spec.action_dim, np.int64)
    for start in range(0, len(action), CHUNK):
        count += (np.abs(action[start : start + CHUNK]) > SATURATED).sum(axis=0)
    return count / dataset.spec.transitions


def _scalars(finding: Finding) -> dict[str, Any]:
    evidence = {k: v for k, v in finding.evidence.items() if not isinstance(v, list)}
    return {**asdict(finding), "evidence": evidence}


def _distribution(values: np.ndarray) -> dict[str, float]:
    quantiles = {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
    return {"mean": float(values.mean()), "std": float(values.std()), **quantiles}
