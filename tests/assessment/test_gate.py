"""The gate of a world model, on made-up errors."""

from dataclasses import replace

import pytest
from reporting_outputs import write_outputs

from pipeline.assessment import STOP, WARN
from pipeline.assessment.gate import NO_REWARD, NO_STEP, TOO_FAR, constant_reward, failures, reward_horizon
from pipeline.assessment.results import FeatureError, ModelErrors
from pipeline.reporting.results import load
from pipeline.stages.assess_world_model import pass_gate


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> ModelErrors:
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [0])
    return load(root, [0]).errors[0]


def reward_of(errors: ModelErrors, mae: list[float], baseline: float, r2: float) -> ModelErrors:
    others = [error for error in errors.features if error.name != "reward"]
    reward = FeatureError("reward", rmse=0.5, persistence_rmse=1.0, linear_rmse=0.7, r2=r2, linear_r2=0.5)
    return replace(errors, reward_mae=mae, reward_baseline_mae=[baseline] * len(mae), features=[*others, reward])


def test_a_good_model_passes(errors: ModelErrors) -> None:
    assert failures(errors) == []


@pytest.mark.parametrize(
    ("model", "persistence", "reason"), [(1.2, 1.0, NO_STEP), (1.0, 1.0, NO_STEP), (0.9, 1.0, TOO_FAR)]
)
def test_a_model_that_is_trusted_for_no_step_fails(
    errors: ModelErrors, model: float, persistence: float, reason: str
) -> None:
    trust = replace(errors.trust, horizon=0, model_error=[model], persistence_error=[persistence])
    assert failures(replace(errors, trust=trust)) == [reason]


def test_a_reward_that_is_no_better_than_its_mean_fails(errors: ModelErrors) -> None:
    """The numbers of a report that trusted such a model: R2 0.09, and an error of 0.039 beside 0.028."""
    count = len(errors.horizons)
    worse = reward_of(errors, [0.039] * count, 0.028, r2=0.09)
    assert failures(worse) == [NO_REWARD]
    assert failures(reward_of(errors, [0.01] * count, 0.028, r2=0.0)) == [NO_REWARD]
    assert failures(reward_of(errors, [0.01] * count, 0.028, r2=0.09)) == []


def test_a_constant_reward_passes(errors: ModelErrors) -> None:
    """Cart-pole pays one for each step: the mean has no error, and the model a small one."""
    features = [error for error in errors.features if error.name != "reward"]
    count = len(errors.horizons)
    steady = replace(errors, reward_mae=[1e-3] * count, reward_baseline_mae=[0.0] * count, features=features)
    assert (failures(steady), constant_reward(steady)) == ([], True)
    assert not constant_reward(errors)


def test_the_reward_reaches_as_far_as_it_stays_better(errors: ModelErrors) -> None:
    count = len(errors.horizons)
    assert reward_horizon(reward_of(errors, [0.1] * count, 1.0, r2=0.9)) == errors.horizons[-1]
    crossing = [0.1, 0.2, 1.0, *[0.5] * (count - 3)]
    assert reward_horizon(reward_of(errors, crossing, 1.0, r2=0.9)) == errors.horizons[1]


def test_the_gate_warns_or_stops() -> None:
    said: list[str] = []
    pass_gate([], STOP, said.append)
    assert said == []
    pass_gate([NO_STEP, NO_REWARD], WARN, said.append)
    assert said[0].startswith(f"warning: {NO_STEP}, and {NO_REWARD}: ")
    with pytest.raises(
        ValueError, match=r"^assessment\.gate: the world model is no better .* set `assessment\.gate: warn`"
    ):
        pass_gate([NO_STEP], STOP, said.append)


def test_both_kinds_of_failure_are_named(errors: ModelErrors) -> None:
    trust = replace(errors.trust, horizon=0, model_error=[2.0], persistence_error=[1.0])
    both = reward_of(replace(errors, trust=trust), [1.0] * len(errors.horizons), 0.5, r2=-1.0)
    assert failures(both) == [NO_STEP, NO_REWARD]
