"""Features that contain the reward, hardly vary, are discrete, or wrap around."""

import numpy as np

from pipeline.ingest.checks.result import CheckResult
from pipeline.ingest.checks.sample import LEAST_ROWS, FloatArray, Sample

EXACT = 0.999  # share of the reward's variance
NEARLY = 0.99  # share of rows with the same value
FEW = 10  # distinct values of a feature that looks discrete
TURN = 0.9  # share of a full turn that an angle must span, and jump by
JUMPS = 5
MANY_ROWS = 1000  # logs with fewer rows have few distinct values anyway


def reward_leak(sample: Sample) -> CheckResult | None:
    """Whether one feature, or a linear combination, equals the reward. None for constant rewards and small logs."""
    if sample.reward.std() == 0 or not sample.names or len(sample.reward) < LEAST_ROWS:
        return None
    before, after = (_squared_correlation(x, sample.reward) for x in (sample.obs, sample.next_obs))
    feature = int(np.argmax(np.maximum(before, after)))
    linear = _explained_linearly(np.concatenate([sample.obs, sample.next_obs], axis=1), sample.reward)
    evidence = {
        "feature": sample.names[feature],
        "explained_before_the_step": before[feature],
        "explained_after_the_step": after[feature],
        "explained_by_all_linearly": linear,
    }
    if after[feature] > EXACT:
        meaning = "A feature holds the last reward: the model may copy it instead of learning the reward function."
        remedy = "remove the feature in `dataset.transform`; harmless if the reward is defined as that feature"
        return CheckResult("reward_leak", "warning", evidence, meaning, remedy)
    if before[feature] > EXACT or linear > EXACT:
        return CheckResult("reward_leak", "info", evidence, "The reward is a linear function of the observations.")
    return CheckResult("reward_leak", "info", evidence, "No feature equals the reward.")


def constant_features(sample: Sample) -> CheckResult | None:
    """Features with a single value in the train split; None if there are none."""
    spec = sample.dataset.spec
    names = [spec.obs_names[key][i] for key in spec.vector_keys for i in spec.constant_features[key]]
    if not names:
        return None
    meaning = "Constant in the train split: kept with scale 1, ignored by loss and penalty, copied by the model."
    evidence = {"count": len(names), "features": _joined(names)}
    return CheckResult("constant_features", "warning", evidence, meaning, "remove them in `dataset.transform`")


def nearly_constant_features(sample: Sample) -> CheckResult | None:
    """Features with the same value in over 99 % of rows, but not in all; None if there are none."""
    shares = [_mode_share(column) for column in sample.obs.T]
    nearly = [i for i, share in enumerate(shares) if NEARLY < share < 1]
    if not nearly:
        return None
    evidence = {
        "count": len(nearly),
        "features": _joined([sample.names[i] for i in nearly]),
        "largest_share": max(shares[i] for i in nearly),
    }
    meaning = "Features are almost always constant: few rows determine their scale, and so their weight in the model."
    return CheckResult("nearly_constant_features", "info", evidence, meaning, "remove them in `dataset.transform`")


def discrete_features(sample: Sample) -> CheckResult | None:
    """Features with two to ten distinct values; None if there are none or the log has under a thousand rows."""
    counts = [len(np.unique(column)) for column in sample.obs.T]
    discrete = [i for i, count in enumerate(counts) if 2 <= count <= FEW]
    if not discrete or len(sample.obs) < MANY_ROWS:
        return None
    evidence = {"count": len(discrete), "features": _joined([sample.names[i] for i in discrete])}
    meaning = "Features have few distinct values: a Gaussian model predicts values between them that never occur."
    remedy = "`world_model.name: rssm` with `latent: categorical` can model them"
    return CheckResult("discrete_features", "info", evidence, meaning, remedy)


def wrapping_angles(sample: Sample) -> CheckResult | None:
    """Angles, in radians or degrees, that jump by a full turn; None if there are none."""
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
    evidence = {"count": len(turns), "features": _joined(list(turns)), "jumps": sum(turns.values())}
    meaning = "An angle jumps by a full turn: the model has to learn the jump as if the system moved."
    remedy = "replace it by its cosine and sine in `dataset.transform`"
    return CheckResult("wrapping_angles", "warning", evidence, meaning, remedy)


def _squared_correlation(features: FloatArray, reward: FloatArray) -> FloatArray:
    """R2 "O" of a straight line through each feature "n O" that predicts the reward "n"."""
    x, y = features - features.mean(axis=0), reward - reward.mean()
    return (x * y[:, None]).mean(axis=0) ** 2 / np.maximum((x**2).mean(axis=0) * (y**2).mean(), 1e-300)


def _explained_linearly(features: FloatArray, reward: FloatArray) -> float:
    x, y = features - features.mean(axis=0), reward - reward.mean()
    x = x / np.maximum(x.std(axis=0), 1e-12)
    weights = np.linalg.lstsq(x.T @ x / len(x), x.T @ y / len(x), rcond=1e-10)[0]
    return float(1 - ((y - x @ weights) ** 2).mean() / (y**2).mean())


def _mode_share(column: FloatArray) -> float:
    return float(np.unique(column, return_counts=True)[1].max() / len(column))


def _joined(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
