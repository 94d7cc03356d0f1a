"""Changes over the log: in units, in behavior, and between the train and the held-out split.

A new behavior also changes the distribution, which is normal in a replay buffer. The two cases differ in their physics:
after a change of units, rescaling part of a feature improves a one-step model of the whole log; after a change of
behavior, rescaling makes it worse.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.regress import fit
from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import FloatArray, IntArray, Sample, evenly, is_large_enough

BLOCKS = 20  # consecutive parts of the log
EDGE = 2  # at least this many blocks on either side of a change
FACTOR = 1.5  # ratio of one-step changes above which a feature is a candidate
CANDIDATES = 6  # at most this many features, those with the largest factors
MOVES = 0.2  # share of steps in which a feature must change, for its scale to be meaningful
LEAST_GAIN = 0.3  # rescaling must explain this share of the variance that the model left unexplained,
SEVERE = 0.03  # and this share of the total variance
NARROW = 256  # random features
UNIT_FACTORS = {
    "degrees and radians": 180 / np.pi,
    "a factor of 1000": 1000.0,
    "a factor of 100": 100.0,
    "a factor of 10": 10.0,
    "minutes and seconds": 60.0,
    "km/h and m/s": 3.6,
    "Fahrenheit and Celsius": 1.8,
    "inches and centimeters": 2.54,
    "pounds and kilograms": 2.20462,
    "g and m/s2": 9.80665,
    "mg/dl and mmol/l of glucose": 18.0182,
}
NEAR_UNIT = 1.35  # the factors of units within this ratio of the measured factor are tried too
HALVES_DISTANCE = 0.25  # Kolmogorov-Smirnov distance between the halves of the log that is reported
SPLIT_DISTANCE = 0.2  # the same between train and held-out episodes, if it also exceeds that of random splits
SPLITS, QUANTILE = 200, 0.99  # random splits, and the quantile of their distances
GROUPS, CELLS = 1000, 40  # episodes, and cells a feature, of the histograms


@dataclass(frozen=True)
class Rescaled:
    """Feature ``feature`` divided by ``factor`` in the rows from ``start`` on."""

    feature: int
    start: int
    factor: float
    unit: str = ""


def unit_change(sample: Sample) -> CheckResult | None:
    """Whether a feature changes its unit within the log. None for small logs and for images alone."""
    rows, test = sample.windows(1)
    if not is_large_enough(test) or not sample.moving.any():
        return None
    obs, next_obs = (sample.observed(rows + i) for i in (0, 1))
    factors, starts = _changes(next_obs - obs)
    evidence = {"features": sample.names, "factor_by_feature": factors}
    order = np.argsort(-abs(np.log(factors)), kind="stable")
    features = [int(f) for f in order if abs(np.log(factors[f])) > np.log(FACTOR)][:CANDIDATES]
    unchanged = CheckResult("unit_change", "info", evidence, "No feature changes its unit.")
    if not features:
        return unchanged
    actions = sample.actions(rows)
    tries = [t for f in features for t in _candidates(f, int(starts[f]), float(factors[f]))]
    as_is = {start: _unexplained(obs, next_obs, actions, test, start) for start in {t.start for t in tries}}
    rescaled = [_unexplained(_rescale(obs, t), _rescale(next_obs, t), actions, test, t.start) for t in tries]
    gains = [_gain(as_is[t.start], share, t.feature) for t, share in zip(tries, rescaled, strict=True)]
    best = int(np.argmax(gains))
    if gains[best] <= 0:
        return unchanged
    chosen = tries[best]
    change = {
        "feature": sample.names[chosen.feature],
        "factor": chosen.factor,
        "looks_like": chosen.unit or "no known unit",
        "from_episode": sample.episode_of(rows[chosen.start : chosen.start + 1])[0],
        "unexplained": as_is[chosen.start][chosen.feature],
        "unexplained_rescaled": rescaled[best][chosen.feature],
    }
    meaning = "A feature changes its scale within the log: one model fits the whole log only if it is rescaled."
    remedy = "divide the feature by the factor from that episode on, in `dataset.transform` or in the log"
    return CheckResult("unit_change", "serious", {**change, **evidence}, meaning, remedy)


def behavior_shift(sample: Sample) -> CheckResult | None:
    """Distance between the first and the second half of the log. Never a warning, since behavior may change."""
    if not sample.moving.any():
        return None
    half = len(sample.rows) // 2
    distances = [_distance(column[:half], column[half:]) for column in sample.obs.T]
    worst = int(np.argmax(distances))
    evidence = {"feature": sample.names[worst], "distance": distances[worst], "by_feature": distances}
    if distances[worst] < HALVES_DISTANCE:
        return CheckResult("behavior_shift", "info", evidence, "Both halves of the log have similar distributions.")
    meaning = "The two halves of the log differ, as in a replay buffer whose policy changed."
    return CheckResult("behavior_shift", "info", evidence, meaning)


def held_out_shift(sample: Sample) -> CheckResult | None:
    """Distance between train and held-out episodes, compared with random splits of the same sizes."""
    if not sample.moving.any():
        return None
    episodes = evenly(np.arange(len(sample.lengths)), GROUPS)
    held_out = sample.dataset.held_out[episodes]
    if held_out.all() or not held_out.any():
        return None
    counts = _histograms(sample, episodes)
    distances = _split_distances(counts, held_out)
    draws = np.random.default_rng(0)
    chance = [_split_distances(counts, draws.permutation(held_out)).max() for _ in range(SPLITS)]
    worst = int(np.argmax(distances))
    threshold = float(np.quantile(chance, QUANTILE))
    names = [n for n, m in zip(sample.names, sample.moving, strict=True) if m]
    evidence = {"feature": names[worst], "distance": distances[worst], "random_splits_99th_percentile": threshold}
    if distances[worst] < SPLIT_DISTANCE or distances[worst] <= threshold:
        meaning = "Train and held-out episodes have similar distributions."
        return CheckResult("held_out_shift", "info", evidence, meaning)
    meaning = "Held-out and train episodes differ by more than chance: held-out errors are those of another log."
    remedy = "set `dataset.held_out_path` equal to `dataset.path` to split by episode; or keep it as a harder test"
    return CheckResult("held_out_shift", "warning", evidence, meaning, remedy)


def _changes(change: FloatArray) -> tuple[FloatArray, IntArray]:
    """The largest change of scale "O" of each feature of one-step changes "n O", and the row "O" where it happens.

    The factor is above 1 if the feature grows, and 1 for a feature that rarely changes.
    """
    edges = np.linspace(0, len(change), BLOCKS + 1).astype(int)
    size = np.stack([np.sqrt((change[a:b] ** 2).mean(axis=0)) for a, b in pairwise(edges)])
    level = np.log(np.maximum(size, 1e-9 * np.maximum(size.max(axis=0), 1e-300)))
    cuts = np.arange(EDGE, BLOCKS - EDGE + 1)
    jumps = np.stack([level[c:].mean(axis=0) - level[:c].mean(axis=0) for c in cuts])
    weight = np.sqrt(cuts * (BLOCKS - cuts))[:, None]
    best = np.argmax(abs(jumps) * weight, axis=0)
    factor = np.exp(jumps[best, np.arange(len(best))])
    return np.where((change != 0).mean(axis=0) > MOVES, factor, 1.0), edges[cuts[best]]


def _candidates(feature: int, start: int, factor: float) -> list[Rescaled]:
    """The measured factor, and the factors of common units near it."""
    candidates = [Rescaled(feature, start, factor)]
    for unit, unit_factor in UNIT_FACTORS.items():
        for ratio in (unit_factor, 1 / unit_factor):
            if abs(np.log(ratio / factor)) < np.log(NEAR_UNIT):
                candidates.append(Rescaled(feature, start, ratio, unit))
    return candidates


def _rescale(obs: FloatArray, change: Rescaled) -> FloatArray:
    scaled = obs.copy()
    scaled[change.start :, change.feature] /= change.factor
    return scaled


def _unexplained(
    obs: FloatArray, next_obs: FloatArray, actions: FloatArray, test: NDArray[np.bool_], start: int
) -> FloatArray:
    """Share "O" of the variance of each feature's changes that a one-step model of the whole log does not explain.

    It is the mean of two shares, before ``start`` and from there on, each relative to the variance of its own rows.
    """
    inputs, change = np.concatenate([obs, actions], axis=1), next_obs - obs
    error = (change[test] - fit(inputs, change, test, NARROW)(inputs[test])) ** 2
    late = np.flatnonzero(test) >= start
    shares = [error[part].mean(axis=0) / np.maximum(change[test][part].var(axis=0), 1e-300) for part in (late, ~late)]
    return np.mean([np.where(change.any(axis=0), np.minimum(share, 1), 0) for share in shares], axis=0)


def _gain(as_is: FloatArray, rescaled: FloatArray, feature: int) -> float:
    """By how much rescaling lowers a feature's unexplained share; 0 if by little, or if other features get worse."""
    gain = float(as_is[feature] - rescaled[feature])
    others = np.delete(rescaled - as_is, feature).sum()
    return gain if gain > max(SEVERE, LEAST_GAIN * as_is[feature]) and others <= 0 else 0.0


def _distance(first: FloatArray, second: FloatArray) -> float:
    """Kolmogorov-Smirnov distance of two samples."""
    grid = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (first, second)]
    return float(abs(shares[0] - shares[1]).max())


def _histograms(sample: Sample, episodes: IntArray) -> FloatArray:
    """Counts "E O C" of each episode's rows by feature and cell; over the log, cells have equal counts."""
    owner = sample.episode_of(sample.rows)
    chosen = np.isin(owner, episodes)
    episode = np.searchsorted(episodes, owner[chosen])
    obs = sample.obs[chosen][:, sample.moving]
    counts = np.zeros((len(episodes), obs.shape[1], CELLS))
    for i, column in enumerate(obs.T):
        edges = np.quantile(column, np.linspace(0, 1, CELLS + 1)[1:-1])
        cell = np.searchsorted(edges, column, side="right")
        counts[:, i] = np.bincount(episode * CELLS + cell, minlength=len(episodes) * CELLS).reshape(-1, CELLS)
    return counts


def _split_distances(counts: FloatArray, held_out: NDArray[np.bool_]) -> FloatArray:
    """Kolmogorov-Smirnov distance "O" of each feature between the two sides of a split, over the cells."""
    sums = [np.cumsum(counts[part].sum(axis=0), axis=1) for part in (held_out, ~held_out)]
    shares = [s / np.maximum(s[:, -1:], 1) for s in sums]
    return abs(shares[0] - shares[1]).max(axis=1)
