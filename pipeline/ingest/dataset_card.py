"""Summary numbers of a dataset, for reports/metrics/dataset.json."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.checks.basics import SATURATED
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.measured import unmeasured
from pipeline.ingest.results import ActionBounds, DatasetCard, Distribution, References, RewardRange
from pipeline.ingest.statistics import CHUNK

QUANTILES = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}


def card(dataset: PreparedDataset, checks: Sequence[CheckResult]) -> DatasetCard:
    """Counts, raw returns, episode lengths, bounds, digest, warnings and data checks of a prepared dataset."""
    spec = dataset.spec
    return DatasetCard(
        name=spec.name,
        source=spec.source,
        digest=spec.digest,
        env_id=spec.env_id,
        license=spec.license,
        transitions=spec.transitions,
        train_transitions=int(dataset.episode_lengths("train").sum()),
        held_out_transitions=int(dataset.episode_lengths("held_out").sum()),
        episodes=spec.episodes,
        held_out_episodes=spec.held_out_episodes,
        dropped=spec.dropped,
        terminals=spec.terminals,
        obs_dim=spec.obs_dim,
        action_dim=spec.action_dim,
        returns=_distribution(dataset.episode_returns("all")),
        train_returns=_distribution(dataset.episode_returns("train")),
        held_out_returns=_distribution(dataset.episode_returns("held_out")),
        lengths=_distribution(dataset.episode_lengths("all")),
        reward=RewardRange(spec.reward_min, spec.reward_max, spec.reward_mean, spec.reward_std),
        action_bounds=ActionBounds(spec.action_bounds, spec.action_low, spec.action_high),
        action_saturation=_saturation(dataset).tolist(),
        constant_features=spec.constant_features,
        references=References(spec.ref_min_score, spec.ref_max_score, spec.ref_source),
        warnings=spec.warnings,
        checks={result.name: _scalars(result) for result in checks},
        split=spec.split,
        unmeasured=unmeasured(dataset),
    )


def _saturation(dataset: PreparedDataset) -> np.ndarray:
    """Share of steps "A". Rows of final observations hold action 0, so they add nothing to the count."""
    if dataset.spec.action_kind == DISCRETE:
        return np.zeros(0)
    action, count = dataset.action, np.zeros(dataset.spec.action_dim, np.int64)
    for start in range(0, len(action), CHUNK):
        count += (np.abs(action[start : start + CHUNK]) > SATURATED).sum(axis=0)
    return count / dataset.spec.transitions


def _scalars(result: CheckResult) -> CheckResult:
    evidence = {k: v for k, v in result.evidence.items() if not isinstance(v, list)}
    return replace(result, evidence=evidence)


def _distribution(values: np.ndarray) -> Distribution:
    quantiles = {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()}
    return Distribution(mean=float(values.mean()), std=float(values.std()), **quantiles)
