"""Discounting and intervals that all estimators share. Pure functions of arrays; T steps, E episodes."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def discounts(steps: int, discount: float) -> Array:
    """1, discount, discount^2, ... "T"."""
    return discount ** np.arange(steps, dtype=np.float64)


def discounted(reward: Array, discount: float) -> Array:
    """Discounted sums "..." of rewards "... T"; rewards after an end must be zero."""
    return np.asarray((reward * discounts(reward.shape[-1], discount)).sum(-1))


def per_step(reward: Array, observed: Array, discount: float) -> float:
    """Discounted mean reward of the ``observed`` steps "E T" (1.0). Steps after a true end count as observed."""
    weight = observed * discounts(reward.shape[-1], discount)
    return float((weight * reward).sum() / weight.sum())


def replicate_interval(values: Array, resamples: int, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean over starts from bootstrap replicates "K N": K estimators, each fitted to a resample of
    the episodes, at N starts.

    Every draw takes one whole replicate and resamples its starts (Efron & Tibshirani 1993), so the interval covers the
    uncertainty of both the logs and the starts.
    """
    rng = np.random.default_rng(seed)
    replicates, starts = values.shape
    chosen = rng.integers(replicates, size=(resamples, 1))
    means = values[chosen, rng.integers(starts, size=(resamples, starts))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
