"""Features that give the reward away, hardly vary, or count rather than measure."""

import numpy as np

from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.sample import LEAST_ROWS, FloatArray, Sample

EXACT = 0.999  # share of the reward's variance
NEARLY = 0.99  # share of rows with one and the same value
FEW = 10  # distinct values of a feature that looks discrete
TURN = 0.9  # of a full turn, that an angle spans and jumps
JUMPS = 5
MANY_ROWS = 1000  # fewer rows than this have few values anyway


def reward_leak(sample: Sample) -> Finding | None:
    """Whether one feature, or a sum of several, is the reward up to scale; None where rewards never differ."""
    if sample.reward.std() == 0 or not sample.names or len(sample.reward) < LEAST_ROWS:
        return None
    before, after = (_squared_correlation(x, sample.reward) for x in (sample.obs, sample.next_obs))
    single = np.maximum(before, after)
    feature = int(np.argmax(single))
    together = _explained_linearly(np.concatenate([sample.obs, sample.next_obs], axis=1), sample.reward)
    evidence = {
        "feature": sample.names[feature],
        "explained_before_the_step": before[feature],
        "explained_after_the_step": after[feature],
        "explained_by_all_linearly": together,
    }
    if after[feature] > EXACT:
        meaning = (
            "A feature holds the reward just paid: the model may read it there instead of learning what is rewarded."
        )
        remedy = "remove the feature by `dataset.transform`; harmless if the reward is defined as that feature"
        return Finding("reward_leak", "warning", evidence, meaning, remedy)
    if before[feature] > EXACT or together > EXACT:
        return Finding("reward_leak", "info", evidence, "The reward is a linear function of what is observed.")
    return Finding("reward_leak", "info", evidence, "No feature is the reward.")


def constant_features(sample: Sample) -> Finding | None:
    spec = sample.dataset.spec
    names = [spec.obs_names[key][i] for key in spec.vector_keys for i in spec.constant_features[key]]
    if not names:
        return None
    meaning = "Constant in the train split: kept, with scale 1, outside loss and penalty, copied by the model."
    evidence = {"count": len(names), "features": _listed(names)}
    return Finding("constant_features", "warning", evidence, meaning, "leave them out by `dataset.transform`")


def nearly_constant_features(sample: Sample) -> Finding | None:
    """One value in 99 % of rows, and another in the rest."""
    shares = [_mode_share(column) for column in sample.obs.T]
    found = [i for i, share in enumerate(shares) if NEARLY < share < 1]
    if not found:
        return None
    names = [sample.names[i] for i in found]
    evidence = {"count": len(found), "features": _listed(names), "largest_share": max(shares[i] for i in found)}
    meaning = (
        "Features that almost always have one value: their scale, and so their weight in the model, hangs on few rows."
    )
    return Finding("nearly_constant_features", "info", evidence, meaning, "leave them out by `dataset.transform`")


def discrete_features(sample: Sample) -> Finding | None:
    """At most ten different values in a thousand rows or more."""
    counts = [len(np.unique(column)) for column in sample.obs.T]
    found = [i for i, count in enumerate(counts) if 2 <= count <= FEW]
    if not found or len(sample.obs) < MANY_ROWS:
        return None
    evidence = {"count": len(found), "features": _listed([sample.names[i] for i in found])}
    meaning = "Features of few values: a Gaussian model draws values between them that never occur."
    return Finding(
        "discrete_features",
        "info",
        evidence,
        meaning,
        "`world_model.latent: categorical` with `rssm` can tell them apart",
    )


def wrapping_angles(sample: Sample) -> Finding | None:
    """Angles that jump by a full turn, in radians or degrees."""
    span, jump = np.ptp(sample.obs, axis=0), abs(sample.next_obs - sample.obs)
    turns = {
        name: int((jump[:, i] > TURN * full).sum())
        for i, name in enumerate(sample.names)
        for full in (2 * np.pi, 360.0)
        if TURN * full < span[i] <= 1.001 * full
    }
    turns = {name: count for name, count in turns.items() if count >= JUMPS}
    if not turns:
        return None
    evidence = {"count": len(turns), "features": _listed(list(turns)), "jumps": sum(turns.values())}
    meaning = "An angle jumps by a full turn, which a model has to learn as if the plant jumped."
    return Finding("wrapping_angles", "warning", evidence, meaning, "give its cosine and sine by `dataset.transform`")


def _squared_correlation(features: FloatArray, reward: FloatArray) -> FloatArray:
    """Of each feature "n O" with the reward "n", "O": what a straight line through it explains."""
    x, y = features - features.mean(axis=0), reward - reward.mean()
    return (x * y[:, None]).mean(axis=0) ** 2 / np.maximum((x**2).mean(axis=0) * (y**2).mean(), 1e-300)


def _explained_linearly(features: FloatArray, reward: FloatArray) -> float:
    x, y = features - features.mean(axis=0), reward - reward.mean()
    x = x / np.maximum(x.std(axis=0), 1e-12)
    weights = np.linalg.lstsq(x.T @ x / len(x), x.T @ y / len(x), rcond=1e-10)[0]
    return float(1 - ((y - x @ weights) ** 2).mean() / (y**2).mean())


def _mode_share(column: FloatArray) -> float:
    return float(np.unique(column, return_counts=True)[1].max() / len(column))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
