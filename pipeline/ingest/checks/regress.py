"""A fast, nonlinear, deterministic regression: ridge on the inputs and on fixed random features of them
(Rahimi and Recht, 2008, Random features for large-scale kernel machines)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.sample import FloatArray

WIDTH = 384  # random features
RIDGES = (1e-5, 1e-3, 1e-1)  # shares of the mean eigenvalue; every model gets the best one on the test rows
FARTHEST = 5.0  # standard deviations; inputs beyond are clipped


def held_out_r2(inputs: FloatArray, targets: FloatArray, test: NDArray[np.bool_], width: int = WIDTH) -> FloatArray:
    """R2 of each target "n D" on the rows of ``test``, float64 "D".

    Below 0: worse than predicting the mean of the test rows.
    """
    return explained(targets[test], targets[test] - fit(inputs, targets, test, width)(inputs[test]))


def explained(targets: FloatArray, residual: FloatArray) -> FloatArray:
    """1 - (mean squared residual) / (variance of targets), "D"; 0 for a constant target."""
    variance = targets.var(axis=0)
    return np.where(variance > 0, 1 - (residual**2).mean(axis=0) / np.where(variance > 0, variance, 1), 0.0)


def fit(
    inputs: FloatArray, targets: FloatArray, test: NDArray[np.bool_], width: int = WIDTH
) -> Callable[[FloatArray], FloatArray]:
    """A function from inputs "m I" to predicted targets "m D".

    It is fitted on the rows outside ``test``; the ridge of each target is the best one on ``test``.
    """
    mean, std = inputs[~test].mean(axis=0), inputs[~test].std(axis=0)
    used = std > 1e-9 * (1 + abs(mean))

    def features(x: FloatArray) -> FloatArray:
        return _features((x[:, used] - mean[used]) / std[used], width)

    phi = features(inputs[~test])
    center, offset = phi.mean(axis=0), targets[~test].mean(axis=0)
    phi -= center
    gram, moment = phi.T @ phi, phi.T @ (targets[~test] - offset)
    scale = np.trace(gram) / len(gram)
    by_ridge = np.stack([np.linalg.solve(gram + (r * scale + 1e-12) * np.eye(len(gram)), moment) for r in RIDGES])
    test_phi, test_targets = features(inputs[test]) - center, targets[test] - offset
    best = np.argmin([((test_targets - test_phi @ weights) ** 2).mean(axis=0) for weights in by_ridge], axis=0)
    weights = by_ridge[best, :, np.arange(len(best))].T
    return lambda new_inputs: offset + (features(new_inputs) - center) @ weights


def leverage(inputs: FloatArray, width: int = WIDTH) -> Callable[[FloatArray], FloatArray]:
    """A function from inputs "m I" to their leverages "m" in a regression on ``inputs`` "n I": how far they lie outside
    of what it was fitted on."""
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    used = std > 1e-9 * (1 + abs(mean))

    def features(x: FloatArray) -> FloatArray:
        return _features((x[:, used] - mean[used]) / std[used], width)

    phi = features(inputs)
    center = phi.mean(axis=0)
    gram = (phi - center).T @ (phi - center)
    root = np.linalg.cholesky(gram + (RIDGES[1] * np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram)))
    return lambda new_inputs: (np.linalg.solve(root, (features(new_inputs) - center).T) ** 2).sum(axis=0)


def _features(x: FloatArray, width: int) -> FloatArray:
    """The inputs and rectified random projections of them, "n I+width"; every call draws the same projections."""
    x = np.clip(x, -FARTHEST, FARTHEST)
    draws = np.random.default_rng(0)
    slopes, bias = draws.normal(size=(x.shape[1], width)), draws.normal(size=width)
    return np.concatenate([x, np.maximum(x @ slopes / np.sqrt(max(x.shape[1], 1)) + bias, 0)], axis=1)
