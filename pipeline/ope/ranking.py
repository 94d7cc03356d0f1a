"""Whether estimates rank policies as their true returns do (Fu et al. 2021, arXiv:2103.16596, DOPE)."""

from collections.abc import Sequence

import numpy as np


def rank_correlation(estimates: Sequence[float], returns: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None for fewer than three policies, or if all estimates or all returns are equal."""
    if len(estimates) < 3 or min(len(set(estimates)), len(set(returns))) == 1:
        return None
    from scipy.stats import spearmanr  # slow to import

    return float(spearmanr(estimates, returns).statistic)


def regret_at(k: int, estimates: Sequence[float], returns: Sequence[float]) -> float:
    """The best true return of all policies less the best among the ``k`` policies with the highest estimates."""
    assert 1 <= k <= len(estimates) == len(returns)
    chosen = np.argsort(-np.asarray(estimates), kind="stable")[:k]
    return float(np.max(returns) - np.asarray(returns)[chosen].max())
