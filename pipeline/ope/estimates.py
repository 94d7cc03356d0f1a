"""What an estimate says, and the discounting that all of them share. Pure functions of arrays; T steps, E episodes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A discounted value in units of reward, its 95 % interval, and the value as a reward per step."""

    value: float
    low: float
    high: float
    per_step: float


def discounts(steps: int, discount: float) -> Array:
    """1, discount, discount^2, ... "T"."""
    return discount ** np.arange(steps, dtype=np.float64)


def discounted(reward: Array, discount: float) -> Array:
    """Discounted sums "..." of rewards "... T"; steps after an end count zero."""
    return np.asarray((reward * discounts(reward.shape[-1], discount)).sum(-1))


def per_step(reward: Array, observed: Array, discount: float) -> float:
    """Discounted mean reward of the steps "E T" that were ``observed`` (1.0), those after a true end among them."""
    weight = observed * discounts(reward.shape[-1], discount)
    return float((weight * reward).sum() / weight.sum())


def replicate_interval(values: Array, resamples: int, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean over starts from bootstrap replicates "K N": K estimators, each fitted to a resample of
    the episodes, at N starts. Every draw takes one replicate whole and resamples its starts (Efron & Tibshirani 1993),
    so both the logs and the starts are uncertain."""
    rng = np.random.default_rng(seed)
    replicates, starts = values.shape
    chosen = rng.integers(replicates, size=(resamples, 1))
    means = values[chosen, rng.integers(starts, size=(resamples, starts))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
