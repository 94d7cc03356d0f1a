"""Point estimates and intervals from few seeds.

After Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
Arrays are ``[S, E]``: seeds by episodes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.results import Interval, ScoreSummary
from pipeline.evaluation.scores import normalize

Array = NDArray[np.float64]
DRAWS_AT_ONCE = 4_000_000  # 32 MB of resampled episodes


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all values."""
    return float(_iqm_of_rows(np.ravel(values)[None])[0])


def _iqm_of_rows(draws: Array) -> Array:
    from scipy.stats import trim_mean  # slow to import

    return np.asarray(trim_mean(draws, 0.25, axis=1))


# What an interval can be computed of, over the last axis of "R N".
STATISTICS: dict[str, Callable[[Array], Array]] = {
    "mean": lambda draws: np.asarray(draws.mean(1)),
    "iqm": _iqm_of_rows,
}


def resample(values: Array, count: int, rng: np.random.Generator) -> Array:
    """``count`` draws "R S*E" with replacement: seeds first, then episodes within each drawn seed."""
    seeds, episodes = values.shape
    seed_index = rng.integers(seeds, size=(count, seeds, 1))
    episode_index = rng.integers(episodes, size=(count, seeds, episodes))
    return values[seed_index, episode_index].reshape(count, -1)


def bootstrap_ci(values: ArrayLike, statistic: str, resamples: int = 2000, seed: int = 0) -> Interval:
    """95 % percentile interval of ``statistic`` ("mean" or "iqm") of values "S E", by hierarchical bootstrap.

    With one seed, the interval covers the variation between that seed's episodes only.
    """
    values = _two_dimensional(values)
    rng = np.random.default_rng(seed)
    chunk = max(1, DRAWS_AT_ONCE // values.size)
    counts = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    estimates = np.concatenate([STATISTICS[statistic](resample(values, count, rng)) for count in counts])
    low, high = np.quantile(estimates, [0.025, 0.975])
    return float(low), float(high)


def summary(
    returns: ArrayLike, ref_min: float | None, ref_max: float | None, resamples: int = 2000, seed: int = 0
) -> ScoreSummary:
    """The scores of one agent from raw returns "S E". Every interval belongs to the number whose name it bears.

    Scores need both reference returns and are None without them.
    """
    returns = _two_dimensional(returns)
    scores = normalize(returns, ref_min, ref_max)
    return ScoreSummary(
        mean=None if scores is None else float(scores.mean()),
        mean_ci95=None if scores is None else bootstrap_ci(scores, "mean", resamples, seed),
        iqm=None if scores is None else iqm(scores),
        iqm_ci95=None if scores is None else bootstrap_ci(scores, "iqm", resamples, seed),
        return_mean=float(returns.mean()),
        return_mean_ci95=bootstrap_ci(returns, "mean", resamples, seed),
        episodes=int(returns.size),
        seeds=int(returns.shape[0]),
    )


def _two_dimensional(values: ArrayLike) -> Array:
    array = np.asarray(values, np.float64)
    assert array.ndim == 2, f"expected [seeds, episodes], got {array.shape}"
    assert array.size > 0
    assert np.isfinite(array).all(), "returns must be finite"
    return array
