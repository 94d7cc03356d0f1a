"""What params.yaml leaves to the assessment."""

import pytest

from pipeline.imagination import RolloutConfig, RolloutSpec
from pipeline.params import build
from pipeline.uncertainty import PenaltyConfig, PenaltySpec
from pipeline.uncertainty.auto import MAX_ROLLOUT, resolve_auto
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration


def told(scale: float | None, score: float) -> PenaltyCalibration:
    quantiles = {"0.5": 0.2, "0.9": 0.6, "0.95": 0.8, "0.99": 1.2} if scale else {}
    return PenaltyCalibration("epistemic", scale, quantiles, 0.5, {}, 0.7, score)


def calibration(horizon: int = 7) -> Calibration:
    known = {"ensemble_std": told(0.4, 0.6), "disagreement": told(2.0, 0.3), "entropy": told(None, 0.0)}
    return Calibration(horizon, 50, "ensemble_std", known, None)


def test_numbers_stay_what_they_are():
    penalty, rollout = PenaltyConfig("bellman", 3.0), RolloutConfig(length=2, halt_above=1.5)
    assert resolve_auto(penalty, rollout, calibration(), 2.0) == (
        PenaltySpec("bellman", 3.0),
        RolloutSpec(length=2, halt_above=1.5),
    )


@pytest.mark.parametrize("weight", [0, 2, 0.5, "auto"])
def test_params_may_give_the_weight_whole(weight: float | str):
    assert build(PenaltyConfig, {"weight": weight}, "penalty").weight == weight


def test_weight_is_the_error_to_expect_of_one_unit():
    penalty, _ = resolve_auto(PenaltyConfig("disagreement", "auto"), RolloutConfig(), calibration(), 2.0)
    assert (penalty.name, penalty.weight) == ("disagreement", 2.0)
    penalty, _ = resolve_auto(PenaltyConfig("auto", "auto"), RolloutConfig(), calibration(), 2.0)
    assert (penalty.name, penalty.weight) == ("ensemble_std", 0.4)
    penalty, _ = resolve_auto(PenaltyConfig("auto", 1.5), RolloutConfig(), calibration(), 2.0)
    assert (penalty.name, penalty.weight) == ("ensemble_std", 1.5)


@pytest.mark.parametrize(("horizon", "length"), [(0, 1), (7, 7), (50, MAX_ROLLOUT)])
def test_length_is_the_trusted_horizon_within_reason(horizon: int, length: int):
    assert resolve_auto(PenaltyConfig(), RolloutConfig(length="auto"), calibration(horizon), 2.0)[1].length == length


def test_halting_is_at_a_quantile_of_the_raw_penalty():
    # 0.8 of scaled penalty is 0.8 / 0.4 of the raw one, in units of reward; halt_above counts in spreads of reward
    _, rollout = resolve_auto(PenaltyConfig("ensemble_std"), RolloutConfig(halt_quantile=0.95), calibration(), 4.0)
    assert rollout.halt_above == pytest.approx(0.8 / 0.4 / 4.0)


def test_what_is_not_known_is_refused():
    for name, message in (("bellman", "not assessed"), ("entropy", "zero on all logs")):
        with pytest.raises(ValueError, match=message):
            resolve_auto(PenaltyConfig(name, "auto"), RolloutConfig(), calibration(), 1.0)
    with pytest.raises(ValueError, match=r"set `rollout\.halt_quantile` to null"):
        resolve_auto(PenaltyConfig("entropy", 1.0), RolloutConfig(halt_quantile=0.99), calibration(), 1.0)
    for bad in ({"length": "long"}, {"halt_quantile": 0.42}, {"halt_quantile": 0.9, "halt_above": 1.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            RolloutConfig(**bad)
    with pytest.raises(ValueError, match="weight"):
        PenaltyConfig(weight="much")
