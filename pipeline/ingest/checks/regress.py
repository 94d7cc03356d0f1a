"""A regression that is quick, nonlinear and has no luck in it: ridge on the inputs and on fixed random features of them
(Rahimi and Recht, 2008, Random features for large-scale kernel machines)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.sample import FloatArray

WIDTH = 384  # random features
RIDGES = (1e-5, 1e-3, 1e-1)  # share of the mean eigenvalue; the best on the tested rows counts, for every rival alike
FARTHEST = 5.0  # standard deviations; beyond, inputs are clipped


def held_out_r2(inputs: FloatArray, targets: FloatArray, test: NDArray[np.bool_], width: int = WIDTH) -> FloatArray:
    """Share of the variance of each target "n D" that is explained on the rows of ``test``, float64 "D". Below 0: worse
    than the mean of the tested rows."""
    return explained(targets[test], targets[test] - fit(inputs, targets, test, width)(inputs[test]))


def explained(targets: FloatArray, residual: FloatArray) -> FloatArray:
    """1 - (mean squared residual) / (variance of targets), "D"; 0 for a target that does not vary."""
    variance = targets.var(axis=0)
    return np.where(variance > 0, 1 - (residual**2).mean(axis=0) / np.where(variance > 0, variance, 1), 0.0)


def fit(
    inputs: FloatArray, targets: FloatArray, test: NDArray[np.bool_], width: int = WIDTH
) -> Callable[[FloatArray], FloatArray]:
    """From inputs "m I" to the targets "m D" that are expected there, fitted on the rows outside ``test``; the ridge of
    each target is the best on ``test``."""
    mean, std = inputs[~test].mean(axis=0), inputs[~test].std(axis=0)
    used = std > 1e-9 * (1 + abs(mean))

    def features(x: FloatArray) -> FloatArray:
        return _features((x[:, used] - mean[used]) / std[used], width)

    phi = features(inputs[~test])
    center, level = phi.mean(axis=0), targets[~test].mean(axis=0)
    phi -= center
    gram, link = phi.T @ phi, phi.T @ (targets[~test] - level)
    scale = np.trace(gram) / len(gram)
    rivals = np.stack([np.linalg.solve(gram + (ridge * scale + 1e-12) * np.eye(len(gram)), link) for ridge in RIDGES])
    judged, truth = features(inputs[test]) - center, targets[test] - level
    best = np.argmin([((truth - judged @ weights) ** 2).mean(axis=0) for weights in rivals], axis=0)
    weights = rivals[best, :, np.arange(len(best))].T
    return lambda asked: level + (features(asked) - center) @ weights


def _features(x: FloatArray, width: int) -> FloatArray:
    """Inputs and rectified random projections of them, "n I+width"; the projections are the same at every call."""
    x = np.clip(x, -FARTHEST, FARTHEST)
    draws = np.random.default_rng(0)
    slopes, bias = draws.normal(size=(x.shape[1], width)), draws.normal(size=width)
    return np.concatenate([x, np.maximum(x @ slopes / np.sqrt(max(x.shape[1], 1)) + bias, 0)], axis=1)
