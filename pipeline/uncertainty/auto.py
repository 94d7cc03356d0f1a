"""Resolve ``auto`` in params.yaml: the penalty, its weight and the rollout length come from the assessment of the world
model. Only logs are used, no environment.

``auto`` makes the weights of different penalties comparable. A penalty times its ``scale`` is the expected model error
of a step, in units of reward, as measured on held-out logs. The scale becomes the weight, so a step costs its expected
model error.
"""

from dataclasses import fields

from pipeline.imagination import AUTO, RolloutConfig, RolloutOptions, RolloutSpec
from pipeline.uncertainty import PenaltyConfig, PenaltySpec
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration

MAX_ROLLOUT = 20  # steps; in longer rollouts, imagined transitions are outdated before they are used
BY_HAND = "give `penalty.weight` a number and set `rollout.halt_quantile` to null"


def resolve_auto(
    penalty: PenaltyConfig, rollout: RolloutConfig, calibration: Calibration, reward_std: float
) -> tuple[PenaltySpec, RolloutSpec]:
    """Both blocks without ``auto``. ``reward_std`` is the standard deviation of the logged reward.

    The rollout length is the trusted horizon, clamped to between 1 and ``MAX_ROLLOUT`` steps. ``halt_quantile`` becomes
    ``halt_above``: that quantile of the penalty over held-out logs. Raises ValueError when the assessment did not
    measure the penalty, or measured zero.
    """
    name = calibration.best_penalty if penalty.name == AUTO else penalty.name
    trusted = min(max(calibration.horizon, 1), MAX_ROLLOUT)
    length = trusted if isinstance(rollout.length, str) else rollout.length
    weight = penalty.weight
    if isinstance(weight, str):
        weight = _scale(name, _penalty_calibration(calibration, name))
    halt_above = rollout.halt_above
    if rollout.halt_quantile is not None:
        measured = _penalty_calibration(calibration, name)
        scale = _scale(name, measured)
        halt_above = measured.quantiles[str(rollout.halt_quantile)] / scale / reward_std
    options = {f.name: getattr(rollout, f.name) for f in fields(RolloutOptions)} | {"halt_above": halt_above}
    return PenaltySpec(name, weight, penalty.neighbors, penalty.samples), RolloutSpec(**options, length=length)


def _penalty_calibration(calibration: Calibration, name: str) -> PenaltyCalibration:
    if name not in calibration.penalties:
        alternatives = ", ".join(calibration.penalties)
        raise ValueError(f"params.yaml: penalty `{name}` is not assessed: {BY_HAND}, or use {alternatives}")
    return calibration.penalties[name]


def _scale(name: str, measured: PenaltyCalibration) -> float:
    if measured.scale is None:
        raise ValueError(f"params.yaml: penalty `{name}` is zero on all logs: {BY_HAND}")
    return measured.scale
