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
    return explained(targets[test], targets[test] - _fitted(inputs, targets, test, width)[1])


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
    return _fitted(inputs, targets, test, width)[0]


def _fitted(
    inputs: FloatArray, targets: FloatArray, test: NDArray[np.bool_], width: int
) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
    """The function of :func:`fit`, and what it predicts for the rows of ``test``."""
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
    return lambda new_inputs: offset + (features(new_inputs) - center) @ weights, offset + test_phi @ weights


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
    draws = np.random.default_rng(0)
    size = x.shape[1]
    slopes, bias = draws.normal(size=(size, width)), draws.normal(size=width)
    features = np.empty((len(x), size + width))
    clipped = features[:, :size] = np.clip(x, -FARTHEST, FARTHEST)
    projected = clipped @ slopes  # changed in place: there are few operations, but many numbers
    projected /= np.sqrt(max(size, 1))
    projected += bias
    np.maximum(projected, 0, out=features[:, size:])
    return features
