"""Per-decision importance weighting of logged episodes (Precup, Sutton & Singh 2000), and the effective number of
episodes (Kish 1965). Pure functions; E episodes, T steps.

``log_ratio`` is log pi(a|s) - log mu(a|s) of each step, zero after a true end. ``observed`` is 1.0 where a step was
logged or lies after a true end, whose reward is zero, and 0.0 after a time limit.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cumulative_weights(log_ratio: Array, observed: Array) -> Array:
    """Weight "E T" of every episode's steps up to and including t, relative to the largest weight at t; zero where
    nothing was observed."""
    total = np.where(observed > 0, log_ratio.cumsum(1), -np.inf)
    largest = total.max(0)
    return np.exp(total - np.where(np.isfinite(largest), largest, 0.0))


def weighted_rewards(log_ratio: Array, reward: Array, observed: Array) -> Array:
    """Expected reward "T" of each step by self-normalized weights: consistent, and within the logged rewards."""
    weight = cumulative_weights(log_ratio, observed)
    total = weight.sum(0)
    return np.where(total > 0, (weight * reward).sum(0) / np.where(total > 0, total, 1.0), 0.0)


def unweighted_rewards(log_ratio: Array, reward: Array, observed: Array) -> Array:
    """Expected reward "T" of each step by ordinary weights: unbiased, with a variance that grows with every step."""
    weight = np.exp(np.where(observed > 0, log_ratio.cumsum(1), -np.inf))
    return np.asarray((weight * reward).sum(0) / np.maximum(observed.sum(0), 1))


def effective_episodes(log_ratio: Array, observed: Array, discount: Array) -> float:
    """Kish's effective number of episodes, (sum w)^2 / sum w^2 at each step, averaged with weights ``discount`` "T"."""
    weight = cumulative_weights(log_ratio, observed)
    square = (weight**2).sum(0)
    ess = np.where(square > 0, weight.sum(0) ** 2 / np.where(square > 0, square, 1.0), 0.0)
    return float((discount * ess).sum() / discount.sum())
