"""The first screen follows from the numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from reporting_outputs import write_outputs

from pipeline.assessment.results import NoReliability
from pipeline.reporting.results import Results, load
from pipeline.reporting.text.formatting import number
from pipeline.reporting.text.glance import glance, recipe


def texts(results: Results) -> dict[str, str]:
    return {reason.topic: reason.text.replace("\u00a0", " ") for reason in glance(results)}


def evaluated(results: Results, **changed: object) -> Results:
    return replace(results, evaluation=replace(results.evaluation, **changed))


def test_every_reason_follows_from_the_numbers(results: Results) -> None:
    says = texts(results)
    assert says["Runs"] == "80 real episodes of 2 seeds, too few to show the variation between training runs."
    share = sum(e.model_rmse[0] for e in results.errors.values()) / 2 / 0.2
    assert says["World model"] == (
        f"Trusted for 17 steps; one-step error is {100 * share:.1f} % of the persistence baseline."
    )
    assert says["Intervals"] == (
        "90 % intervals contain 82 % of held-out targets (least for state[1]: 60 %), and 70 % on the policy's own"
        " steps."
    )
    offline = results.offline
    assert says["Offline estimates"].startswith("Estimates that rank the policy above behavior cloning: fitted Q")
    for value, end in ((-1e9, "Above logged behavior: fitted Q"), (1e9, "No estimate puts it above logged")):
        changed = replace(offline, logged=replace(offline.logged, per_step=value))
        assert end in texts(replace(results, offline=changed))["Offline estimates"]


def test_the_predicted_return_is_compared_with_the_measured_one(results: Results) -> None:
    for imagined, verdict in ((-104.0, "within 10 %"), (-60.0, "prediction too high"), (-180.0, "prediction too low")):
        gap = {"imagined_return": imagined, "real_return": -100.0, "exploitation_gap": imagined + 100}
        text = texts(evaluated(results, **gap))["Predicted return"]
        assert text == f"Predicted return over 50 steps: {number(imagined)}; measured: −100.0 ({verdict})."


def test_without_an_environment_it_says_what_is_not_known(tmp_path: Path) -> None:
    write_outputs(tmp_path, [0], with_environment=False)
    envless = load(tmp_path, [0])
    says = texts(envless)
    assert says["Runs"] == "Trained with seed 0; no real episode was run."
    assert says["Predicted return"].endswith("; not measured, because there is no environment.")
    assert "policy's own steps" not in says["Intervals"]
    skipped = replace(envless, reliability={0: NoReliability("a point latent expects no noise")})
    assert texts(skipped)["Intervals"] == "None to measure."
    assert recipe({}, envless) == "seed 0, environment none"


def test_logs_name_the_warnings(results: Results) -> None:
    quiet = [replace(finding, severity="info") for finding in results.checks]
    assert texts(replace(results, checks=quiet))["Logs"].endswith(f"; all {len(quiet)} data checks passed.")
    odd = [replace(quiet[0], name="time_gaps", severity="serious", remedy="split the log"), *quiet]
    ending = f"; 1 of {len(odd)} data checks warn: time gaps (serious)."
    assert texts(replace(results, checks=odd))["Logs"].endswith(ending)


@pytest.mark.parametrize("weight", [0.5, "auto"])
def test_the_recipe_names_what_was_run(weight: float | str, results: Results) -> None:
    params = {
        "policy": {"name": "sac"},
        "world_model": {"name": "rssm"},
        "penalty": {"name": "disagreement", "weight": weight},
    }
    assert recipe(params, results) == (
        f"policy sac, world model rssm, penalty disagreement × {weight}, seeds 0, 1, environment Pendulum-v1"
    )


def states(results: Results) -> dict[str, str]:
    return {reason.topic: reason.state for reason in glance(results)}


def test_states_follow_from_the_numbers(results: Results) -> None:
    assert states(results)["World model"] == "good"
    few = {seed: replace(e, trust=replace(e.trust, horizon=3)) for seed, e in results.errors.items()}
    assert states(replace(results, errors=few))["World model"] == "warn"
    none = {seed: replace(e, trust=replace(e.trust, horizon=0)) for seed, e in results.errors.items()}
    assert states(replace(results, errors=none))["World model"] == "bad"
    assert states(results)["Intervals"] == "warn"  # 82 % of held-out targets in 90 % intervals
    poor = {seed: replace(e, linear_rmse=[0.0] * len(e.horizons)) for seed, e in results.errors.items()}
    behind = replace(results, errors=poor)
    assert states(behind)["World model"] == "warn"
    assert texts(behind)["World model"].endswith("and larger than that of linear regression.")
    serious = replace(results.checks[0], name="time_gaps", severity="serious", remedy="split the log")
    assert states(replace(results, checks=[serious]))["Logs"] == "bad"
    assert states(evaluated(results, imagined_return=-60.0, real_return=-100.0, exploitation_gap=40.0)) == {
        **states(results),
        "Predicted return": "warn",
    }


def test_a_reward_model_that_is_no_better_than_a_constant_is_named(results: Results) -> None:
    errors = {
        seed: replace(e, reward_mae=[0.039] * len(e.horizons), reward_baseline_mae=[0.028] * len(e.horizons))
        for seed, e in results.errors.items()
    }
    worse = replace(results, errors=errors)
    assert states(worse)["Reward"] == "bad"
    assert texts(worse)["Reward"] == (
        "No better than a constant: mean absolute error of one step is 0.0390, that of the mean reward 0.0280."
    )


def test_a_constant_reward_is_no_test_of_the_model(results: Results) -> None:
    errors = {seed: replace(e, reward_baseline_mae=[0.0] * len(e.horizons)) for seed, e in results.errors.items()}
    steady = replace(results, errors=errors)
    assert states(steady)["Reward"] == "open"
    assert texts(steady)["Reward"].startswith("Constant in held-out logs")


def test_without_an_environment_rewards_are_compared_per_step(tmp_path: Path) -> None:
    write_outputs(tmp_path, [0], with_environment=False)
    envless = load(tmp_path, [0])
    offline = envless.offline
    predicted = number(offline.agents["policy"].model.per_step)
    assert texts(envless)["Predicted return"].startswith(
        f"Reward per step: the world model predicts {predicted} over {offline.horizon} steps, held-out logs have"
        f" {number(offline.logged.per_step)}; not measured"
    )
    assert states(envless)["Runs"] == states(envless)["Predicted return"] == "open"
