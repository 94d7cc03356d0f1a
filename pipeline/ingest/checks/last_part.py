"""Whether the last part of the log is harder to predict than the parts before it, and why.

A one-step model is fitted on four fifths of the log without some blocks of rows. Its errors on those blocks are what a
random split measures, and its errors on the last fifth are what the time to come would bring. Where the errors are
higher in states and actions that are like those fitted, the process itself changes. Where they are higher only in
states and actions unlike those, the model extrapolates: the operation has moved, or a disturbance has moved the state.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.spec import GIVEN, LAST
from pipeline.ingest.checks.regress import fit, leverage
from pipeline.ingest.checks.result import INCONCLUSIVE, CheckResult
from pipeline.ingest.checks.sample import LEAST_ROWS, FloatArray, Sample, evenly

BLOCKS, LATE = 25, 5  # equal parts of the log; the last ones are the last fifth
FOLDS = 4
ROWS, WIDTH = 12_000, 256  # steps and random features of the regression
LIKE = 0.95  # quantile of the leverages of the earlier rows, up to which a row counts as like those fitted
LEAST_LIKE = 0.1  # share of the last rows that must be like those fitted
DRIFTS = 1.7  # ratio of the errors in like states from which the process drifts
LEAST = 0.1  # share of the variance of some feature's changes that the model must explain
UNLIKE = 3.0  # ratio of all errors from which the last part is reported as new
VISIBLE = 0.02  # share of the variance of a feature's changes by which its error must grow
HIGH = 0.9  # quantile of the errors of earlier blocks that nearly all late blocks must exceed


@dataclass(frozen=True)
class Errors:
    """Squared errors of each step in units of the variance of the changes "n D", with its block "n"."""

    squared: FloatArray
    like: NDArray[np.bool_]
    block: NDArray[np.int64]

    @property
    def late(self) -> NDArray[np.bool_]:
        """Which steps lie in the last fifth, "n"."""
        return self.block >= BLOCKS - LATE

    def means(self, rows: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
        """Mean squared errors "D" of ``rows`` in the last fifth, and before."""
        return self.squared[self.late & rows].mean(axis=0), self.squared[~self.late & rows].mean(axis=0)

    def growth(self, rows: NDArray[np.bool_]) -> FloatArray:
        """Ratio "D" of the root mean square errors of ``rows`` in the last fifth to those before; 1 where the error
        grows by little, or not in nearly every late block."""
        late, before = self.means(rows)
        blocks = [(self.block == b) & rows for b in range(BLOCKS)]
        means = np.stack([self.squared[block].mean(axis=0) for block in blocks if block.any()])
        is_late = np.array([b >= BLOCKS - LATE for b, block in enumerate(blocks) if block.any()])
        low = means[is_late] <= np.quantile(means[~is_late], HIGH, axis=0)
        grows = (low.sum(axis=0) <= 1) & (late - before > VISIBLE)
        return np.where(grows, _ratio(late, before), 1.0)


def drift(sample: Sample) -> CheckResult | None:
    """Errors of a one-step model on the last fifth of the log and on random blocks before. None for small logs and for
    images alone."""
    spec = sample.dataset.spec
    errors = _errors(sample)
    if errors is None:
        return None
    every_row = np.ones_like(errors.like)
    everywhere, like_share = errors.growth(every_row), errors.like[errors.late].mean()
    like = errors.growth(errors.like) if like_share >= LEAST_LIKE else np.ones_like(everywhere)
    process = like.max() >= DRIFTS
    late, before = errors.means(every_row)
    by_feature = _ratio(late, before)
    worst = int(np.argmax(like if process else everywhere if everywhere.max() > 1 else by_feature))
    names = [name for name, moves in zip(sample.names, sample.predicted, strict=True) if moves]
    evidence = {
        "feature": names[worst],
        "error_ratio": by_feature[worst],
        "error_ratio_in_like_states": _ratio(*errors.means(errors.like))[worst] if like_share else None,
        "share_of_like_states": like_share,
        "error_ratio_of_all_features": _ratio(late.mean(), before.mean()),
        "ratio_by_feature": by_feature,
    }
    if not process and before.min() > 1 - LEAST:
        meaning = "Whether the log drifts is open: a one-step model explains none of the changes."
        remedy = "compare errors under `dataset.split: last` with those under `random`"
        return CheckResult("drift", INCONCLUSIVE, evidence, meaning, remedy)
    if not process and everywhere[worst] < UNLIKE:
        meaning = (
            "One-step errors on the last fifth of the log are like those on random parts before: no sign of drift."
        )
        return CheckResult("drift", "info", evidence, meaning)
    if process:
        meaning = "The process drifts: one-step errors on the last fifth of the log are higher, in like states too."
        remedy = "refit on new logs often, or add the variable that changes to the observation"
    else:
        meaning = "The last fifth of the log is harder to predict: it holds states and actions unlike those before."
        remedy = "add logs of such states; refit on new logs often"
    if spec.split not in (LAST, GIVEN):
        remedy = f"set `dataset.split: last`, so that held-out errors are those of the time to come; {remedy}"
    return CheckResult("drift", "warning", evidence, meaning, remedy)


def _ratio(late: FloatArray, before: FloatArray) -> FloatArray:
    return np.sqrt(late / np.maximum(before, 1e-12))


def _errors(sample: Sample) -> Errors | None:
    """Errors of models that were fitted without the blocks they are tested on; those on the last fifth are means over
    the models."""
    rows = sample.in_time(evenly(sample.dataset.steps("train" if sample.dataset.spec.split == GIVEN else "all"), ROWS))
    block = np.arange(len(rows)) * BLOCKS // max(len(rows), 1)
    late = block >= BLOCKS - LATE
    if late.sum() < LEAST_ROWS / LATE or not sample.predicted.any():
        return None
    obs, next_obs = (sample.observed(rows + i) for i in (0, 1))
    inputs, change = np.concatenate([obs, sample.actions(rows)], axis=1), (next_obs - obs)[:, sample.predicted]
    size, spread = np.sqrt((change**2).mean(axis=0)), change.std(axis=0)
    change = change / np.where(spread > 1e-9 * size, spread, np.maximum(size, 1e-300))
    squared, leverages = np.zeros_like(change), np.zeros(len(rows))
    for fold in range(FOLDS):
        tested = ~late & (block % FOLDS == fold)
        model = fit(inputs[~late], change[~late], tested[~late], WIDTH)
        leverage_of = leverage(inputs[~late & ~tested], WIDTH)
        for part, weight in ((tested, 1), (late, 1 / FOLDS)):
            squared[part] += weight * (change[part] - model(inputs[part])) ** 2
            leverages[part] += weight * leverage_of(inputs[part])
    return Errors(squared, leverages <= np.quantile(leverages[~late], LIKE), block)
