"""Size, coverage, rewards and actions of the log; warnings where nothing can be learned."""

import numpy as np

from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import FloatArray, Sample, evenly

SATURATED = 0.99  # share of the way from the middle to a bound
NARROW = 0.1  # standard deviation of an action in [-1, 1] below which a network treats it as nearly constant
MOSTLY = 0.9  # share of actions at a bound above which hardly any others were logged
BINS = 21
CELLS = 20  # a side of the grid on the two principal components
NEIGHBORS = 4000  # observations whose nearest neighbor is computed


def episodes(sample: Sample) -> CheckResult:
    """Lengths, returns and terminals of the episodes."""
    lengths, returns = sample.lengths, sample.dataset.episode_returns("all")
    evidence = {
        "episodes": len(lengths),
        "shortest": lengths.min(),
        "median_length": float(np.median(lengths)),
        "longest": lengths.max(),
        "lowest_return": returns.min(),
        "median_return": float(np.median(returns)),
        "highest_return": returns.max(),
        "share_with_terminal": sample.ended.mean(),
    }
    return CheckResult("episodes", "info", evidence, "Lengths and returns of the episodes.")


def single_step_episodes(sample: Sample) -> CheckResult | None:
    """Episodes of one step; None if there are none."""
    single = int((sample.lengths == 1).sum())
    if not single:
        return None
    meaning = "Episodes of a single step are kept, but multi-step training cannot use them."
    share = single / len(sample.lengths)
    remedy = (
        "remove them from the log; if the log is split too often, correct `dataset.timeout_key` "
        "(a table's `timeout_column`)"
    )
    return CheckResult("single_step_episodes", "warning", {"episodes": single, "share": share}, meaning, remedy)


def equal_rewards(sample: Sample) -> CheckResult | None:
    """Whether all rewards of the train split are equal; None if they differ."""
    spec = sample.dataset.spec
    if spec.reward_min != spec.reward_max:
        return None
    evidence = {"reward": spec.reward_min}
    if spec.terminals:
        meaning = "All rewards of the train split are equal: a policy can only learn how long episodes last."
        return CheckResult("equal_rewards", "info", evidence, meaning)
    meaning = "All rewards of the train split are equal and no episode terminates: every policy is equally good."
    remedy = "define another reward in `dataset.transform`"
    return CheckResult("equal_rewards", "serious", evidence, meaning, remedy)


def coverage(sample: Sample) -> CheckResult | None:
    """How the observations are distributed; None for constant observations and for images alone.

    ``effective_dimension`` is (sum of eigenvalues)^2 / (sum of their squares) of the correlation matrix. ``cells`` is a
    grid over the range of the two principal components. ``nearest_in_another_episode`` is the median distance to the
    nearest observation of another episode: a root mean square over features, in standard deviations.
    """
    if not sample.moving.any():
        return None
    obs = sample.obs[:, sample.moving]
    obs = (obs - obs.mean(axis=0)) / np.maximum(obs.std(axis=0), 1e-12)
    values, vectors = np.linalg.eigh(obs.T @ obs / len(obs))
    plane = obs @ vectors[:, -2:]
    cells = np.histogramdd(plane, CELLS)[0]
    evidence = {
        "effective_dimension": values.sum() ** 2 / (values**2).sum(),
        "features": len(values),
        "occupied_cells_share": (cells > 0).mean(),
        "nearest_in_another_episode": _nearest(sample, obs),
        "cells": np.atleast_2d(np.log1p(cells).T),
    }
    return CheckResult("coverage", "info", evidence, "Distribution of the observations.")


def _nearest(sample: Sample, obs: FloatArray) -> float:
    """Median root mean square distance from an observation of an even episode to the nearest one of an odd episode."""
    from scipy.spatial import cKDTree  # slow to import

    odd = sample.episode_of(sample.rows) % 2 == 1
    queries, points = (obs[evenly(np.flatnonzero(rows), NEIGHBORS)] for rows in (~odd, odd) if rows.any())
    distance, _ = cKDTree(points).query(queries)
    return float(np.median(distance) / np.sqrt(obs.shape[1]))


def actions(sample: Sample) -> CheckResult:
    """Distribution of the logged actions, with a warning where they vary too little to learn their effect."""
    action = sample.action
    if sample.dataset.spec.action_kind == DISCRETE:
        return _discrete_actions(action)
    at_bound = (np.abs(action) > SATURATED).mean(axis=0)
    spread = action.std(axis=0)
    constant = int((spread == 0).sum())
    counts = np.stack([np.histogram(column, BINS, (-1, 1))[0] for column in action.T]) / len(action)
    evidence = {
        "at_a_bound_share": at_bound.mean(),
        "most_at_a_bound": at_bound.max(),
        "constant_actions": constant,
        "least_spread": spread.min(),
        "share_by_bin": counts,
    }
    if constant:
        meaning = "Some actions never vary, so their effect cannot be learned."
        return CheckResult("actions", "warning", evidence, meaning, "remove them in `dataset.transform`")
    if spread.min() < NARROW:
        meaning = "Some actions use a small part of their bounds: a network treats them as nearly constant."
        remedy = "set `dataset.action_quantile: 0.005`: bounds at the logs' quantiles, which also limit the policy"
        return CheckResult("actions", "warning", evidence, meaning, remedy)
    if at_bound.mean() > MOSTLY:
        meaning = "Nearly all actions are at a bound: the effect of moderate actions is hardly known."
        remedy = "check `dataset.action_low` and `dataset.action_high`"
        return CheckResult("actions", "warning", evidence, meaning, remedy)
    return CheckResult("actions", "info", evidence, "Distribution of the actions, mapped to [-1, 1].")


def _discrete_actions(action: FloatArray) -> CheckResult:
    share = action.mean(axis=0)
    never = int((share == 0).sum())
    evidence = {"least_share": share.min(), "never_tried": never, "share_by_action": share}
    if never:
        meaning = "Some actions were never tried, so their effect cannot be learned."
        remedy = "correct `dataset.action_count`, or add logs that use them"
        return CheckResult("actions", "warning", evidence, meaning, remedy)
    return CheckResult("actions", "info", evidence, "How often each action was tried.")
