"""Point estimates and intervals from few seeds.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
Arrays are ``[S, E]``: seeds by episodes.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from pipeline.evaluation.scores import normalize

Array = NDArray[np.float64]
DRAWS_AT_ONCE = 4_000_000  # 32 MB of resampled episodes


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all values."""
    return float(trim_mean(np.ravel(values), 0.25))


def resample(values: Array, count: int, rng: np.random.Generator) -> Array:
    """``count`` draws "R S*E" with replacement: seeds first, then episodes within each drawn seed."""
    seeds, episodes = values.shape
    seed_index = rng.integers(seeds, size=(count, seeds, 1))
    episode_index = rng.integers(episodes, size=(count, seeds, episodes))
    return values[seed_index, episode_index].reshape(count, -1)


def bootstrap_ci(values: ArrayLike, statistic: str, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of ``statistic`` ("mean" or "iqm") by hierarchical bootstrap. With one seed the interval
    speaks of that seed's episodes only."""
    values = _two_dimensional(values)
    estimate = {"mean": lambda x: x.mean(1), "iqm": lambda x: trim_mean(x, 0.25, axis=1)}[statistic]
    rng = np.random.default_rng(seed)
    chunk = max(1, DRAWS_AT_ONCE // values.size)
    counts = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    estimates = np.concatenate([estimate(resample(values, count, rng)) for count in counts])
    low, high = np.quantile(estimates, [0.025, 0.975])
    return float(low), float(high)


def summary(
    returns: ArrayLike, ref_min: float | None, ref_max: float | None, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """What ``reports/metrics/evaluate.json`` says of one agent, from raw returns "S E".

    ``mean``, ``iqm`` and ``ci95`` (of the iqm) are normalized, None without references; ``return_mean`` and
    ``return_ci95`` (of the mean) are raw; ``episodes`` counts all episodes of all seeds.
    """
    returns = _two_dimensional(returns)
    scores = normalize(returns, ref_min, ref_max)
    return {
        "mean": None if scores is None else float(scores.mean()),
        "iqm": None if scores is None else iqm(scores),
        "ci95": None if scores is None else list(bootstrap_ci(scores, "iqm", resamples, seed)),
        "return_mean": float(returns.mean()),
        "return_ci95": list(bootstrap_ci(returns, "mean", resamples, seed)),
        "episodes": int(returns.size),
        "seeds": int(returns.shape[0]),
    }


def _two_dimensional(values: ArrayLike) -> Array:
    array = np.asarray(values, np.float64)
    assert array.ndim == 2, f"expected [seeds, episodes], got {array.shape}"
    assert array.size > 0
    assert np.isfinite(array).all(), "returns must be finite"
    return array
