"""Markov or not: does one observation tell all that decides the next?

A one-step model is fitted with and without the step before. Where history explains much of what the present leaves
open, and that hangs together from step to step, something that matters is not observed.
"""

import numpy as np

from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.regress import explained, fit
from pipeline.ingest.checks.sample import FloatArray, Sample, decides

LAGS = range(1, 6)
OPEN = 0.05  # share of variance that the present must leave open before anything is said
GAIN = 0.6  # share of it that history must explain
LINKED = 0.2  # autocorrelation of residuals at lag 1 from which they hang together
WIDE, NARROW = 1024, 256  # random features without and with history: more of them must not do what history does


def memory(sample: Sample) -> Finding | None:
    """Names the feature that history helps most; None for logs too small, or of images alone."""
    starts, test = sample.windows(len(LAGS) + 2)
    if not decides(test) or not sample.moving.any():
        return None
    steps = [_step(sample, starts + 1 + lag) for lag in (0, *LAGS)]
    present, past, change = steps[0]
    alone = fit(present, change, test, WIDE)
    both = fit(np.concatenate([present, past], axis=1), change, test, NARROW)
    residual = np.stack([c[test] - alone(p[test]) for p, _, c in steps])
    after = change[test] - both(np.concatenate([present[test], past[test]], axis=1))
    without, with_history = explained(change[test], residual[0]), explained(change[test], after)
    linked = _autocorrelation(residual)
    left = 1 - without
    gain = np.where(left > OPEN, (with_history - without) / np.maximum(left, 1e-9), 0.0)
    worst = int(np.argmax(np.where(abs(linked[0]) > LINKED, gain, 0)))
    evidence = {
        "feature": [n for n, m in zip(sample.names, sample.moving, strict=True) if m][worst],
        "explained_now": without[worst],
        "explained_with_history": with_history[worst],
        "residual_autocorrelation": linked[0, worst],
        "lags": list(LAGS),
        "residual_autocorrelation_by_lag": linked[:, worst],
        "explained_now_by_feature": without,
        "explained_with_history_by_feature": with_history,
    }
    if gain[worst] < GAIN or abs(linked[0, worst]) <= LINKED:
        return Finding("memory", "info", evidence, "One observation tells nearly all that decides the next.")
    meaning = "The step before tells what the observation leaves open: something that matters is not observed."
    remedy = (
        "`world_model.history: k` holds the last k steps, `world_model.name: rssm` remembers; or add what is missing "
        "to the observation by `dataset.transform`"
    )
    return Finding("memory", "warning", evidence, meaning, remedy)


def _step(sample: Sample, rows: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Present "n O+A", past "n O+A" (the change into it, and its action) and change "n O" of the features that move."""
    before, obs, after = (sample.observed(rows + i) for i in (-1, 0, 1))
    present = np.concatenate([obs, sample.actions(rows)], axis=1)
    past = np.concatenate([obs - before, sample.actions(rows - 1)], axis=1)
    return present, past, (after - obs)[:, sample.moving]


def _autocorrelation(residual: FloatArray) -> FloatArray:
    """Of residuals "L+1 n O" at consecutive steps, by lag and feature, "L O"."""
    centered = residual - residual.mean(axis=(0, 1))
    power = np.maximum((centered**2).mean(axis=(0, 1)), 1e-300)
    return np.stack([(centered[:-lag] * centered[lag:]).mean(axis=(0, 1)) / power for lag in LAGS])
