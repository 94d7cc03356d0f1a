"""What changes over the log: units, behavior, and between the train and the held-out split.

Behavior changes the distribution of a log too, as it should in a replay buffer. Units change the physics: a one-step
model of the whole log gets better when one part of a feature is scaled back. A change of behavior gets worse by that.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.regress import fit
from pipeline.ingest.checks.sample import FloatArray, IntArray, Sample, decides, evenly

BLOCKS = 20  # of the log, in its order
EDGE = 2  # blocks that lie on either side of a change at least
FACTOR = 1.5  # by which the size of one-step changes must differ to be looked at
LOOKED_AT = 6  # features at most, those of the largest factors
MOVES = 0.2  # share of steps in which a feature must change, for the size of its changes to mean something
MENDED = 0.3  # share of what the model leaves open of a feature that scaling back must take away
SEVERE = 0.03  # and share of all its variance
NARROW = 256  # random features
KNOWN = {
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
NEAR_KNOWN = 1.35  # a measured factor this close to a known one is tried as that one too
SHIFTED = 0.25  # Kolmogorov-Smirnov distance between the halves of the log that is told
APART = 0.2  # the same between train and held-out episodes, if chance splits hardly ever reach it
SPLITS, RARELY = 200, 0.99
GROUPS, CELLS = 1000, 40


@dataclass(frozen=True)
class Rescaled:
    """Feature ``feature`` divided by ``factor`` in the rows from ``start`` on."""

    feature: int
    start: int
    factor: float
    unit: str = ""


def unit_change(sample: Sample) -> Finding | None:
    """None for logs too small, or of images alone."""
    rows, test = sample.windows(1)
    if not decides(test) or not sample.moving.any():
        return None
    obs, after = (sample.observed(rows + i) for i in (0, 1))
    factors, starts = _changes(after - obs)
    evidence = {"features": sample.names, "factor_by_feature": factors}
    asked = [
        int(f) for f in np.argsort(-abs(np.log(factors)), kind="stable") if abs(np.log(factors[f])) > np.log(FACTOR)
    ]
    asked = asked[:LOOKED_AT]
    fine = Finding("unit_change", "info", evidence, "No feature changes its unit.")
    if not asked:
        return fine
    actions = sample.actions(rows)
    tries = [t for f in asked for t in _candidates(f, int(starts[f]), float(factors[f]))]
    as_is = {start: _left_open(obs, after, actions, test, start) for start in {t.start for t in tries}}
    scaled = [_left_open(_rescale(obs, t), _rescale(after, t), actions, test, t.start) for t in tries]
    gains = [_mended(as_is[t.start], left, t.feature) for t, left in zip(tries, scaled, strict=True)]
    best = int(np.argmax(gains))
    if gains[best] <= 0:
        return fine
    chosen = tries[best]
    told = {
        "feature": sample.names[chosen.feature],
        "factor": chosen.factor,
        "looks_like": chosen.unit or "no known unit",
        "from_episode": sample.episode_of(rows[chosen.start : chosen.start + 1])[0],
        "left_open": as_is[chosen.start][chosen.feature],
        "left_open_scaled_back": scaled[best][chosen.feature],
    }
    meaning = "A feature changes its scale in the middle: the log follows one physics only when it is scaled back."
    remedy = "divide it by the factor from there on by `dataset.transform`, or in the log"
    return Finding("unit_change", "serious", {**told, **evidence}, meaning, remedy)


def behavior_shift(sample: Sample) -> Finding | None:
    """Between the first and the second half of the log: no fault, since behavior is allowed to change."""
    if not sample.moving.any():
        return None
    half = len(sample.rows) // 2
    distances = [_distance(column[:half], column[half:]) for column in sample.obs.T]
    worst = int(np.argmax(distances))
    told = {"feature": sample.names[worst], "distance": distances[worst], "by_feature": distances}
    if distances[worst] < SHIFTED:
        return Finding("behavior_shift", "info", told, "The two halves of the log look alike.")
    meaning = "The two halves of the log differ, as in a replay buffer whose policy changed."
    return Finding("behavior_shift", "info", told, meaning)


def held_out_shift(sample: Sample) -> Finding | None:
    """Between train and held-out episodes, against splits of the same sizes by chance."""
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
    worst, usual = int(np.argmax(distances)), float(np.quantile(chance, RARELY))
    names = [n for n, m in zip(sample.names, sample.moving, strict=True) if m]
    told = {"feature": names[worst], "distance": distances[worst], "of_chance_splits_99_percent_below": usual}
    if distances[worst] < APART or distances[worst] <= usual:
        return Finding("held_out_shift", "info", told, "Train and held-out episodes look alike.")
    meaning = (
        "Held-out episodes differ from those trained on by more than chance: held-out errors are those of another log."
    )
    remedy = "split by episode instead: `dataset.held_out_path` equal to `dataset.path`; or keep it, as a harder test"
    return Finding("held_out_shift", "warning", told, meaning, remedy)


def _changes(change: FloatArray) -> tuple[FloatArray, IntArray]:
    """For each feature of one-step changes "n O": the factor by which they grow where it grows or shrinks most, and the
    row where that is; factor 1 for a feature that is usually at rest."""
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
    """The measured factor, and known ones near it."""
    found = [Rescaled(feature, start, factor)]
    for unit, known in KNOWN.items():
        for ratio in (known, 1 / known):
            if abs(np.log(ratio / factor)) < np.log(NEAR_KNOWN):
                found.append(Rescaled(feature, start, ratio, unit))
    return found


def _rescale(obs: FloatArray, change: Rescaled) -> FloatArray:
    scaled = obs.copy()
    scaled[change.start :, change.feature] /= change.factor
    return scaled


def _left_open(
    obs: FloatArray, after: FloatArray, actions: FloatArray, test: NDArray[np.bool_], start: int
) -> FloatArray:
    """Share of the variance of each feature's changes "O" that a one-step model of the whole log leaves open, a mean
    over the rows before ``start`` and those from there on, each measured by its own variance."""
    inputs, change = np.concatenate([obs, actions], axis=1), after - obs
    error = (change[test] - fit(inputs, change, test, NARROW)(inputs[test])) ** 2
    late = np.flatnonzero(test) >= start
    shares = [error[part].mean(axis=0) / np.maximum(change[test][part].var(axis=0), 1e-300) for part in (late, ~late)]
    return np.mean([np.where(change.any(axis=0), np.minimum(share, 1), 0) for share in shares], axis=0)


def _mended(as_is: FloatArray, scaled: FloatArray, feature: int) -> float:
    """What scaling a feature back takes off what is left open of it; 0 unless that is much and nothing else suffers."""
    gain = float(as_is[feature] - scaled[feature])
    others = np.delete(scaled - as_is, feature).sum()
    return gain if gain > max(SEVERE, MENDED * as_is[feature]) and others <= 0 else 0.0


def _distance(first: FloatArray, second: FloatArray) -> float:
    """Kolmogorov-Smirnov distance of two samples."""
    grid = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(x), grid, side="right") / len(x) for x in (first, second)]
    return float(abs(shares[0] - shares[1]).max())


def _histograms(sample: Sample, episodes: IntArray) -> FloatArray:
    """Rows of each episode by feature and cell of equal total count, "E O C"."""
    owner = sample.episode_of(sample.rows)
    chosen = np.isin(owner, episodes)
    place, obs = np.searchsorted(episodes, owner[chosen]), sample.obs[chosen][:, sample.moving]
    counts = np.zeros((len(episodes), obs.shape[1], CELLS))
    for i, column in enumerate(obs.T):
        edges = np.quantile(column, np.linspace(0, 1, CELLS + 1)[1:-1])
        cell = np.searchsorted(edges, column, side="right")
        counts[:, i] = np.bincount(place * CELLS + cell, minlength=len(episodes) * CELLS).reshape(-1, CELLS)
    return counts


def _split_distances(counts: FloatArray, held_out: np.ndarray) -> FloatArray:
    """Kolmogorov-Smirnov distance of each feature between the episodes of a split, over the cells, "O"."""
    sums = [np.cumsum(counts[part].sum(axis=0), axis=1) for part in (held_out, ~held_out)]
    shares = [s / np.maximum(s[:, -1:], 1) for s in sums]
    return abs(shares[0] - shares[1]).max(axis=1)
