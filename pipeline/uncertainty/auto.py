"""What params.yaml leaves to the assessment: which penalty, its weight, and how far to imagine. No environment is
asked.

``auto`` puts penalties on one scale. A raw penalty times its ``scale`` is the error that held-out logs lead to expect
of a step, in units of reward; that scale is the weight, so a step costs what the model is expected to get wrong by it.
"""

from dataclasses import fields

from pipeline.imagination import AUTO, RolloutConfig, RolloutOptions, RolloutSpec
from pipeline.uncertainty import PenaltyConfig, PenaltySpec
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration

LONGEST = 20  # steps of a rollout: beyond, what is imagined is old before it is used
BY_HAND = "give `penalty.weight` a number and set `rollout.halt_quantile` to null"


def resolve_auto(
    penalty: PenaltyConfig, rollout: RolloutConfig, calibration: Calibration, reward_std: float
) -> tuple[PenaltySpec, RolloutSpec]:
    """Both blocks without ``auto``. The rollout's length is the trusted horizon, between 1 and ``LONGEST`` steps;
    ``halt_quantile`` becomes the ``halt_above`` at which so many logged steps have less of the penalty.

    Raises ValueError where the assessment knows nothing of the penalty.
    """
    name = calibration.best_penalty if penalty.name == AUTO else penalty.name
    weight, length = penalty.weight, rollout.length
    if isinstance(weight, str):
        weight = _scale(name, _known(calibration, name))
    if isinstance(length, str):
        length = min(max(calibration.horizon, 1), LONGEST)
    halt_above = rollout.halt_above
    if rollout.halt_quantile is not None:
        known = _known(calibration, name)
        scale = _scale(name, known)
        halt_above = known.quantiles[str(rollout.halt_quantile)] / scale / reward_std
    options = {f.name: getattr(rollout, f.name) for f in fields(RolloutOptions)} | {"halt_above": halt_above}
    return PenaltySpec(name, float(weight), penalty.neighbors, penalty.samples), RolloutSpec(**options, length=length)


def _known(calibration: Calibration, name: str) -> PenaltyCalibration:
    if name not in calibration.penalties:
        known = ", ".join(calibration.penalties)
        raise ValueError(f"params.yaml: penalty `{name}` is not assessed: {BY_HAND}, or use {known}")
    return calibration.penalties[name]


def _scale(name: str, known: PenaltyCalibration) -> float:
    if known.scale is None:
        raise ValueError(f"params.yaml: penalty `{name}` is zero on all logs: {BY_HAND}")
    return known.scale
