"""The probability that one policy improves on another, after Agarwal et al. 2021 (arXiv:2108.13264).

Returns are "S E", seeds by episodes, as in :mod:`pipeline.evaluation.statistics`.
"""

import numpy as np
from numpy.typing import ArrayLike

from pipeline.evaluation.results import Interval
from pipeline.evaluation.statistics import Array, resample


def probability_of_improvement(returns: ArrayLike, reference: ArrayLike) -> float:
    """The share of pairs of an episode of each policy in which the first has the higher return; ties count half.

    This is the Mann-Whitney statistic, divided by the number of pairs. 0.5: neither policy is better.
    """
    return _improvement(np.ravel(returns), np.ravel(reference))


def improvement_ci(returns: Array, reference: Array, resamples: int = 2000, seed: int = 0) -> Interval:
    """95 % percentile interval of :func:`probability_of_improvement`. Both policies are drawn again, each by itself:
    seeds first, then episodes within each drawn seed."""
    rng = np.random.default_rng(seed)
    draws = [_improvement(resample(returns, 1, rng)[0], resample(reference, 1, rng)[0]) for _ in range(resamples)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _improvement(x: Array, y: Array) -> float:
    """Counted by rank instead of by pair, because the pairs of a bootstrap are many."""
    ordered = np.sort(y)
    lower, not_higher = (np.searchsorted(ordered, x, side) for side in ("left", "right"))
    return float((lower.mean() + not_higher.mean()) / (2 * len(ordered)))
