"""Whether observations are Markov: does one observation hold all that determines the next?

The check fits a one-step model with and without the previous step. A relevant variable is unobserved where history
explains much of what the present observation leaves unexplained, and the residuals are autocorrelated. The check is
inconclusive for a feature whose changes neither model explains, where the two signs disagree, and where history helps
but leaves most open.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.regress import explained, fit
from pipeline.ingest.checks.result import INCONCLUSIVE, CheckResult
from pipeline.ingest.checks.sample import FloatArray, IntArray, Sample, is_large_enough

BoolArray = NDArray[np.bool_]

LAGS = range(1, 6)
UNEXPLAINED = 0.05  # share of variance that the present observation must leave unexplained
GAIN = 0.6  # share of it that history must explain
AUTOCORRELATION = 0.2  # of the residuals at lag 1
LEAST, MOST = 0.1, 0.5  # shares of variance: below the first nothing is explained, above the second most is
SOME_GAIN = 0.1  # of history, from which a feature that is hardly explained stays open
WIDE, NARROW = 1024, 256  # random features without and with history: history must not win by a larger model


def memory(sample: Sample) -> CheckResult | None:
    """The feature that history helps most. None for small logs and for logs of images alone."""
    starts, test = sample.windows(len(LAGS) + 2)
    if not is_large_enough(test) or not sample.predicted.any():
        return None
    steps = [_step(sample, starts + 1 + lag) for lag in (0, *LAGS)]
    present, past, change = steps[0]
    present_model = fit(present, change, test, WIDE)
    history_model = fit(np.concatenate([present, past], axis=1), change, test, NARROW)
    residual = np.stack([c[test] - present_model(p[test]) for p, _, c in steps])
    history_residual = change[test] - history_model(np.concatenate([present[test], past[test]], axis=1))
    without = explained(change[test], residual[0])
    with_history = explained(change[test], history_residual)
    autocorrelation = _autocorrelation(residual)
    partial, doubtful = signs(without, with_history, autocorrelation[0])
    ranked = partial if partial.any() else doubtful if doubtful.any() else np.ones_like(partial)
    worst = int(np.argmax(np.where(ranked, _gain(without, with_history), -np.inf)))
    names = [n for n, m in zip(sample.names, sample.predicted, strict=True) if m]
    evidence = {
        "feature": names[worst],
        "explained_now": without[worst],
        "explained_with_history": with_history[worst],
        "residual_autocorrelation": autocorrelation[0, worst],
        "residual_autocorrelation_limit": AUTOCORRELATION,
        "lags": list(LAGS),
        "residual_autocorrelation_by_lag": autocorrelation[:, worst],
        "explained_now_by_feature": without,
        "explained_with_history_by_feature": with_history,
    }
    if not partial.any() and not doubtful.any():
        return CheckResult("memory", "info", evidence, "Observations are nearly Markov: history adds little.")
    if not partial.any():
        meaning = (
            f"Whether observations are Markov is open: neither one observation nor the step before explains most of the"
            f" changes of {int(doubtful.sum())} of {len(names)} features."
        )
        remedy = "compare `world_model.history: 5` with 0 on held-out error; more episodes help the check"
        return CheckResult("memory", INCONCLUSIVE, evidence, meaning, remedy)
    meaning = "The previous step explains what the observation does not: a relevant variable is unobserved."
    remedy = (
        "set `world_model.history: k` (the last k steps) or `world_model.name: rssm` (recurrent), or add the missing "
        "variable to the observation in `dataset.transform`"
    )
    return CheckResult("memory", "warning", evidence, meaning, remedy)


def signs(without: FloatArray, with_history: FloatArray, autocorrelation: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Which features "O" are partially observed, and for which that is open: from the shares of variance that models
    without and with history explain, and from the autocorrelation of the residuals at lag 1."""
    gain, share = _gain(without, with_history), np.maximum(without, with_history)
    helped, correlated = gain >= GAIN, abs(autocorrelation) > AUTOCORRELATION
    unexplained, partly = ~(share >= LEAST), (share < MOST) & (gain >= SOME_GAIN)  # NaN explains nothing
    return helped & correlated & ~unexplained, unexplained | partly | (helped & ~correlated)


def _gain(without: FloatArray, with_history: FloatArray) -> FloatArray:
    """The share of what the present observation leaves open that history explains, "O"."""
    left = 1 - without
    return np.where(left > UNEXPLAINED, (with_history - without) / np.maximum(left, 1e-9), 0.0)


def _step(sample: Sample, rows: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Present "n O+A", past "n O+A" (the last change and its action) and change "n O" of the features that move."""
    before, obs, after = (sample.observed(rows + i) for i in (-1, 0, 1))
    present = np.concatenate([obs, sample.actions(rows)], axis=1)
    past = np.concatenate([obs - before, sample.actions(rows - 1)], axis=1)
    return present, past, (after - obs)[:, sample.predicted]


def _autocorrelation(residual: FloatArray) -> FloatArray:
    """Of residuals "L+1 n O" at consecutive steps, by lag and feature, "L O"."""
    centered = residual - residual.mean(axis=(0, 1))
    power = np.maximum((centered**2).mean(axis=(0, 1)), 1e-300)
    return np.stack([(centered[:-lag] * centered[lag:]).mean(axis=(0, 1)) / power for lag in LAGS])
