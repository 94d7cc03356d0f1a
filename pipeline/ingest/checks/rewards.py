"""Rewards that look like missing data: zeros apart from all other rewards, and single spikes."""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.regress import held_out_r2
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import FloatArray, Sample, is_large_enough

DISTINCT = 0.5  # share of different values among nonzero rewards, for rewards to be measured quantities
VALUES = 100  # and at least this many
LEAST, MOST = 5, 0.5  # zeros that are reported: at least, and at most as a share of the steps
APART = 0.5  # spreads between zero and nearly all other rewards
EXPLAINED = 0.5  # share of the zeros' variance by observation and action from which they belong to the system
EDGE = 0.005  # quantile of the other rewards that counts as their limit
SPIKE = 20.0  # interquartile ranges
RARE = 0.005  # share of steps that spikes may have


def zero_rewards(sample: Sample) -> CheckResult | None:
    """Rewards of exactly zero apart from all others, which observation and action do not explain: zero then stands for
    a missing value. None where rewards are not measured quantities, or none is zero."""
    inside = _inside(sample)
    reward = sample.reward[inside]
    zero = reward == 0
    other = reward[~zero]
    if not _measured(other) or zero.sum() < LEAST or zero.mean() > MOST:
        return None
    low, quarter, three, high = np.quantile(other, [EDGE, 0.25, 0.75, 1 - EDGE])
    gap = max(low, -high)  # from zero to the others; negative if zero lies among them
    evidence = {"zeros": zero.sum(), "share": zero.mean(), "nearest_other_rewards": low if low > 0 else high}
    if gap < APART * (three - quarter) or _explained(sample) > EXPLAINED:
        return CheckResult("zero_rewards", "info", evidence, "Rewards of zero are part of the system.")
    meaning = "Rewards of exactly zero lie apart from all others, and no state explains them: values seem missing."
    remedy = (
        "repair the log, or name the mark of missing values (a table's `na_values: [0]`), or leave these rows out in "
        "`dataset.transform`"
    )
    return CheckResult("zero_rewards", "warning", evidence, meaning, remedy)


def reward_spikes(sample: Sample) -> CheckResult | None:
    """Rare rewards of single steps far outside the range of all others, not at the end of an episode. None where
    rewards are not measured quantities."""
    reward = sample.reward[_inside(sample)]
    if not _measured(reward):
        return None
    quarter, middle, three = np.quantile(reward, [0.25, 0.5, 0.75])
    distance = abs(reward - middle) / (three - quarter) if three > quarter else np.zeros(len(reward))
    spikes = distance > SPIKE
    evidence = {"spikes": spikes.sum(), "largest": reward[np.argmax(distance)], "median": middle}
    if not spikes.any() or spikes.mean() > RARE:
        return CheckResult("reward_spikes", "info", evidence, "No rare rewards far outside the range of the others.")
    meaning = "Single rewards lie far outside the range of all others: they decide the scale of the reward model."
    remedy = "check these rows; clip or repair rewards in `dataset.transform`; harmless if they are rare successes"
    return CheckResult("reward_spikes", "warning", evidence, meaning, remedy)


def _inside(sample: Sample) -> NDArray[np.bool_]:
    """Which steps of the sample are not the last of their episode, bool "n": ends may be paid in their own way."""
    return ~np.isin(sample.rows, sample.dataset.offsets[1:] - 2)


def _measured(reward: FloatArray) -> bool:
    distinct = len(np.unique(reward))
    return distinct >= VALUES and distinct >= DISTINCT * len(reward)


def _explained(sample: Sample) -> float:
    """Share of the variance of "the reward is zero" that a regression on the step explains."""
    rows, test = sample.windows(1)
    if not is_large_enough(test) or not sample.names:
        return 0.0
    step = np.concatenate([sample.observed(rows), sample.actions(rows), sample.observed(rows + 1)], axis=1)
    return float(held_out_r2(step, (sample.rewards(rows) == 0)[:, None].astype(float), test)[0])
