"""How much there is, where it lies, and what actions were tried: facts, and warnings where nothing can be learned."""

import numpy as np
from scipy.spatial import cKDTree

from pipeline.envs.action_space import DISCRETE
from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.sample import FloatArray, Sample, evenly

SATURATED = 0.99  # of the way to a bound
NARROW = 0.1  # standard deviation of an action in [-1, 1] below which networks see it as nearly constant
MOSTLY = 0.9  # share of actions at a bound from which hardly any other was tried
BINS = 21
CELLS = 20  # to a side of the grid on the two principal components
NEIGHBOURED = 4000  # observations whose nearest neighbor is looked for


def episodes(sample: Sample) -> Finding:
    lengths, returns = sample.lengths, sample.dataset.episode_returns("all")
    evidence = {
        "episodes": len(lengths),
        "shortest": lengths.min(),
        "median_length": float(np.median(lengths)),
        "longest": lengths.max(),
        "lowest_return": returns.min(),
        "median_return": float(np.median(returns)),
        "highest_return": returns.max(),
        "share_that_ends_in_a_terminal": sample.ended.mean(),
    }
    return Finding("episodes", "info", evidence, "Lengths and returns of the episodes.")


def single_step_episodes(sample: Sample) -> Finding | None:
    single = int((sample.lengths == 1).sum())
    if not single:
        return None
    meaning = "Episodes of a single step are kept, but no multi-step window starts in them."
    share = single / len(sample.lengths)
    remedy = (
        "remove them from the log; if the log was cut too often, name the right `dataset.timeout_key` "
        "(a table's `timeout_column`)"
    )
    return Finding("single_step_episodes", "warning", {"episodes": single, "share": share}, meaning, remedy)


def equal_rewards(sample: Sample) -> Finding | None:
    spec = sample.dataset.spec
    if spec.reward_min != spec.reward_max:
        return None
    if spec.terminals:
        meaning = "All rewards of the train split are equal: how long an episode lasts is all that can be learned."
        return Finding("equal_rewards", "info", {"reward": spec.reward_min}, meaning)
    meaning = "All rewards of the train split are equal: they are kept, but every policy is then equally good."
    return Finding(
        "equal_rewards", "serious", {"reward": spec.reward_min}, meaning, "`dataset.transform` can give another"
    )


def coverage(sample: Sample) -> Finding | None:
    """Effective dimension: (sum of eigenvalues)^2 / sum of their squares, of the correlation matrix. Cells: of a grid
    over the range of the two principal components. Nearest: median distance to the nearest observation of another
    episode, in standard deviations, a root mean square over features."""
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
    return Finding("coverage", "info", evidence, "Where the observations lie.")


def _nearest(sample: Sample, obs: FloatArray) -> float:
    """Median root mean square distance between an observation of an even episode and the nearest of an odd one."""
    odd = sample.episode_of(sample.rows) % 2 == 1
    asked, known = (obs[evenly(np.flatnonzero(rows), NEIGHBOURED)] for rows in (~odd, odd) if rows.any())
    distance, _ = cKDTree(known).query(asked)
    return float(np.median(distance) / np.sqrt(obs.shape[1]))


def actions(sample: Sample) -> Finding:
    action = sample.action
    if sample.dataset.spec.action_kind == DISCRETE:
        return _discrete_actions(action)
    at_bound = (np.abs(action) > SATURATED).mean(axis=0)
    spread = action.std(axis=0)
    still = int((spread == 0).sum())
    counts = np.stack([np.histogram(column, BINS, (-1, 1))[0] for column in action.T]) / len(action)
    evidence = {
        "at_a_bound_share": at_bound.mean(),
        "most_at_a_bound": at_bound.max(),
        "never_varied": still,
        "least_spread": spread.min(),
        "share_by_bin": counts,
    }
    if still:
        meaning = "Some actions never vary, so the logs do not tell what they do."
        return Finding("actions", "warning", evidence, meaning, "leave them out by `dataset.transform`")
    if spread.min() < NARROW:
        meaning = "Some actions use a small part of their bounds: to a network they are nearly constant."
        remedy = "`dataset.action_quantile: 0.005` draws the bounds where the logs are, and keeps the policy within"
        return Finding("actions", "warning", evidence, meaning, remedy)
    if at_bound.mean() > MOSTLY:
        meaning = "Nearly all actions lie at a bound: what moderate ones do is hardly known."
        remedy = "check `dataset.action_low` and `dataset.action_high`"
        return Finding("actions", "warning", evidence, meaning, remedy)
    return Finding("actions", "info", evidence, "What was tried, mapped to [-1, 1].")


def _discrete_actions(action: FloatArray) -> Finding:
    share = action.mean(axis=0)
    never = int((share == 0).sum())
    evidence = {"least_share": share.min(), "never_tried": never, "share_by_action": share}
    if never:
        meaning = "Some actions were never tried, so the logs do not tell what they do."
        return Finding("actions", "warning", evidence, meaning, "correct `dataset.action_count`, or log them")
    return Finding("actions", "info", evidence, "How often each action was tried.")
