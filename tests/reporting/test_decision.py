"""The decision, its reason and its next steps, on made-up results."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.assessment.gate import NO_REWARD, NO_STEP
from pipeline.evaluation.results import Learner, ScoreSummary
from pipeline.ingest.checks.result import CheckResult
from pipeline.ope.results import PooledEstimate
from pipeline.reporting.decision import BASELINE, DEPLOY, STAY, UNKNOWN, by_estimates, by_returns, decide
from pipeline.reporting.next_steps import next_steps
from pipeline.reporting.results import Results
from pipeline.reporting.rivals import of_estimate
from pipeline.reporting.status import Bounds
from pipeline.reporting.summary import write_summary

LEARNED = Learner("bc", 10, world_model=False)


def bounds(value: float, half: float = 1.0) -> Bounds:
    return Bounds(value, value - half, value + half)


@pytest.mark.parametrize(
    ("policy", "baseline", "logged", "status"),
    [
        (10, 5, 0, DEPLOY),
        (10, 10.5, 0, DEPLOY),  # no clear difference to cloning
        (-0.5, 97.2, 40, BASELINE),
        (-0.5, 97.2, 97, BASELINE),  # cloning is as good as the logs
        (-0.5, 20, 97, STAY),  # both are worse than the logs
        (0, 0, 10, STAY),
        (1, 3, 0, BASELINE),  # clearly better than the logs, and the policy is not
        (10.5, 5, 10, UNKNOWN),
        (10, 10, 10, UNKNOWN),
    ],
)
def test_real_returns_decide(policy: float, baseline: float, logged: float, status: str) -> None:
    assert by_returns(bounds(policy), bounds(baseline), bounds(logged), varies=True) == status


def test_a_baseline_that_is_no_better_than_random_actions_is_not_used() -> None:
    policy, baseline, logged = bounds(-10), bounds(5), bounds(6)
    assert by_returns(policy, baseline, logged, varies=True, random=bounds(0)) == BASELINE
    assert by_returns(policy, baseline, logged, varies=True, random=bounds(4)) == STAY


def test_a_policy_like_random_actions_is_said_to_be_one(results: Results) -> None:
    reason = decide(scored(results, policy=0.0, bc=5.0, logged=6.0, random=0.5)).reason
    assert reason.endswith("It is not clearly better than random actions (0.500 [−0.500, 1.50]).")


def test_a_trial_is_advised_only_if_the_policy_may_be_better(envless: Results) -> None:
    agents, logged = envless.offline.agents, envless.offline.logged
    for change, trial in ((1.0, True), (-1.0, False)):
        per_step = logged.per_step + change
        fqe = PooledEstimate(value=100 * per_step, per_step=per_step, low=-1e9, high=1e9)
        policy = replace(agents["policy"], fqe=fqe)
        estimated = replace(envless, offline=replace(envless.offline, agents={**agents, "policy": policy}))
        steps = next_steps(UNKNOWN, replace(estimated, checks=[]))
        assert steps[0] == "Keep the logged behavior in use."
        assert any(step.startswith("Try the policy") for step in steps) == trial


def test_a_constant_action_that_beats_the_logs_decides_nothing() -> None:
    assert by_returns(bounds(10), bounds(5), bounds(0), varies=False) == UNKNOWN
    assert by_returns(bounds(-10), bounds(5), bounds(0), varies=False) == BASELINE


def all_three(value: float, half: float = 0.1) -> dict[str, Bounds]:
    return dict.fromkeys(("fqe", "model", "model_pessimistic"), bounds(value, half))


@pytest.mark.parametrize(
    ("policy", "baseline", "logged", "trusted", "faults", "status"),
    [
        (3, 2, 1, 30, [], DEPLOY),
        (3, 2, 1, 9, [], UNKNOWN),  # trusted for too few steps
        (3, 2.95, 1, 30, [], UNKNOWN),  # the lower bound does not pass the baseline
        (3, 2, 2.95, 30, [], UNKNOWN),  # nor the logs
        (1, 2, 1, 30, [], BASELINE),
        (1, 0.95, 1.05, 30, [], STAY),  # no estimate puts it above the logs
        (0, 1, 2, 30, [], STAY),  # the baseline is clearly worse than the logs
        (0, 1, 0.95, 30, [], STAY),  # nor is it clearly better
        (1, 2, 1, 0, [NO_STEP], STAY),
        (3, 2, 1, 0, [NO_STEP], UNKNOWN),  # fitted Q evaluation alone
        (3, 2, 4, 30, [NO_REWARD], STAY),
    ],
)
def test_estimates_decide_without_an_environment(
    policy: float, baseline: float, logged: float, trusted: int, faults: list[str], status: str
) -> None:
    assert by_estimates(all_three(policy), all_three(baseline), bounds(logged, 0.1), trusted, faults) == status


def test_one_estimate_against_the_others_decides_nothing() -> None:
    policy = all_three(3) | {"fqe": bounds(1, 0.1)}
    assert by_estimates(policy, all_three(2), bounds(1, 0.1), 30, []) == UNKNOWN


def test_estimates_that_are_no_numbers_decide_nothing() -> None:
    nothing = all_three(math.nan)
    assert by_estimates(nothing, all_three(2), bounds(1, 0.1), 30, []) == UNKNOWN
    assert by_estimates(all_three(3), nothing, bounds(1, 0.1), 30, []) == UNKNOWN
    diverged = all_three(3) | {"fqe": bounds(math.nan)}
    assert by_estimates(diverged, all_three(2), bounds(1, 0.1), 0, [NO_STEP]) == UNKNOWN


def test_no_policy_is_deployed_against_one_estimate() -> None:
    baseline = all_three(2) | {"model": bounds(4, 0.1)}
    assert by_estimates(all_three(3), baseline, bounds(1, 0.1), 30, []) == UNKNOWN


@pytest.mark.parametrize(
    ("changed", "faults", "clause"),
    [
        ({"fqe": math.nan}, False, "There is no estimate by fitted Q evaluation."),
        ({"model_pessimistic": (3.0, 0.5)}, False, "but the lower bound by world model less penalty, 0.500, is not"),
        ({"fqe": math.nan}, True, "after one step, and there is no estimate by fitted Q evaluation."),
        (
            {"fqe": (1.0, 0.9), "model": (1.0, 0.9), "model_pessimistic": (1.0, 0.9)},
            False,
            "No estimate puts the policy above behavior cloning.",
        ),
    ],
)
def test_the_reason_is_that_of_the_status(
    envless: Results, changed: dict[str, float | tuple[float, float]], faults: bool, clause: str
) -> None:
    """Cloning earns 1 per step, the logs 0.5; with ``faults`` the world model fails its gate."""

    def estimate(per_step: float, low: float) -> PooledEstimate:
        return PooledEstimate(value=100 * per_step, per_step=per_step, low=100 * low, high=1000.0)

    offline, errors = envless.offline, envless.errors
    fixed = {name: estimate(1.0, 0.9) for name in ("fqe", "model", "model_pessimistic")}
    own = {
        name: estimate(*(value if isinstance(value, tuple) else (value, value)))
        for name, value in {**dict.fromkeys(fixed, (3.0, 2.9)), **changed}.items()
    }
    agents = {"policy": replace(offline.agents["policy"], **own), "bc": replace(offline.agents["bc"], **fixed)}
    logged = replace(offline.logged, value=50.0, per_step=0.5, low=45.0, high=55.0)
    if faults:
        errors = {
            seed: replace(e, trust=replace(e.trust, horizon=0, model_error=[2.0], persistence_error=[1.0]))
            for seed, e in errors.items()
        }
    decision = decide(replace(envless, errors=errors, offline=replace(offline, agents=agents, logged=logged)))
    assert clause in decision.reason
    assert decision.status != DEPLOY


def test_an_estimate_becomes_a_reward_per_step() -> None:
    assert of_estimate(PooledEstimate(value=200.0, per_step=2.0, low=100.0, high=300.0), 0.99) == Bounds(2.0, 1.0, 3.0)
    assert of_estimate(PooledEstimate(value=-200.0, per_step=2.0, low=-300.0, high=-100.0), 0.99) == Bounds(
        2.0, 1.0, 3.0
    )
    assert of_estimate(PooledEstimate(value=0.0, per_step=0.0, low=-10.0, high=10.0), 0.9).high == pytest.approx(1.0)


def scored(results: Results, **means: float) -> Results:
    def summary(mean: float) -> ScoreSummary:
        return ScoreSummary(None, None, None, None, mean, (mean - 1, mean + 1), episodes=100, seeds=1)

    scores = {**results.evaluation.scores, **{name: summary(mean) for name, mean in means.items()}}
    return replace(results, evaluation=replace(results.evaluation, scores=scores))


def test_the_reason_compares_with_logs_and_cloning(results: Results) -> None:
    failed = decide(scored(results, policy=-0.5, bc=97.2, logged=40.0))
    assert failed.status == BASELINE
    assert failed.reason == (
        "The policy returns −0.500 [−1.50, 0.500] (95 % interval), below logged behavior (40.0 [39.0, 41.0]) and"
        " below behavior cloning (97.2 [96.2, 98.2])."
    )
    assert (failed.baseline, failed.answer) == ("bc", "deploy the baseline bc")
    assert failed.next_steps[0] == (
        "Use `data/baselines/seed-0/bc`: it learned from the logs alone and needs no world model."
    )


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("discrete", "it takes another action than the most frequent one in 0.50 % of its steps."),
        ("continuous", "its actions vary by 0.50 % of half their range."),
    ],
)
def test_a_constant_policy_is_described_by_its_kind_of_action(results: Results, kind: str, how: str) -> None:
    visited = results.evaluation.visited
    assert visited is not None
    by_seed = [replace(seed, action_spread=0.005) for seed in visited.by_seed]
    fixed = scored(results, policy=10.0, bc=5.0, logged=0.0)
    fixed = replace(fixed, evaluation=replace(fixed.evaluation, visited=replace(visited, by_seed=by_seed)))
    spec = replace(fixed.dataset.spec, action_kind=kind)
    decision = decide(replace(fixed, dataset=replace(fixed.dataset, spec=spec)))
    assert decision.status == UNKNOWN
    assert decision.reason.replace("\u00a0", " ").endswith(f"But it does the same in every state: {how}")


@pytest.mark.parametrize(
    "means",
    [
        {"policy": 10.0, "bc": 5.0, "logged": 0.0},
        {"policy": 0.0, "bc": 5.0, "logged": 5.0},
        {"policy": 0.0, "bc": 0.0, "logged": 9.0},
        {"policy": 0.0, "bc": 0.0, "logged": 0.0},
    ],
)
def test_there_are_three_different_next_steps(results: Results, means: dict[str, float]) -> None:
    for learner in (Learner("sac", 10, True), Learner("bc", 10, False), Learner("cem", None, True)):
        learned = scored(results, **means)
        learned = replace(learned, evaluation=replace(learned.evaluation, learners={"policy": learner, "bc": LEARNED}))
        steps = decide(learned).next_steps
        assert len({*steps}) == 3
        assert learner.name == "sac" or not any("bc_weight" in step for step in steps)
        assert learner.world_model or not any("penalty" in step for step in steps)


@pytest.mark.parametrize("agent", ["policy", "logged"])
def test_few_episodes_decide_nothing(results: Results, agent: str) -> None:
    better = scored(results, policy=10.0, bc=5.0, logged=0.0)
    scores = {**better.evaluation.scores, agent: replace(better.summary(agent), episodes=1)}
    decision = decide(replace(better, evaluation=replace(better.evaluation, scores=scores)))
    assert decision.status == UNKNOWN
    assert decision.reason.endswith("1 episode is too few for an interval.")


def test_a_serious_check_comes_first_and_keeps_estimates_from_deploying(results: Results, envless: Results) -> None:
    serious = CheckResult("action_shift", "serious", {}, "Actions are late.", "set `action_offset: 2`")
    failed = scored(replace(results, checks=[serious]), policy=0.0, bc=0.0, logged=9.0)
    assert decide(failed).next_steps[0] == "Fix the data check action shift: set `action_offset: 2`."
    agents = envless.offline.agents
    best = PooledEstimate(value=1e3, per_step=10.0, low=9e2, high=1.1e3)
    policy = replace(agents["policy"], fqe=best, model=best, model_pessimistic=best)
    promising = replace(envless, offline=replace(envless.offline, agents={**agents, "policy": policy}))
    assert decide(promising).status == DEPLOY
    assert decide(promising).reason.startswith(
        "All estimates rank the policy above behavior cloning and the logged behavior. By fitted Q evaluation, the"
        " policy earns"
    )
    wide = replace(best, low=-1e5)
    unsure = replace(policy, model_pessimistic=wide)
    uncertain = decide(replace(envless, offline=replace(envless.offline, agents={**agents, "policy": unsure})))
    assert uncertain.status == UNKNOWN
    assert ", but the lower bound by world model less penalty, −1,000, is not above" in uncertain.reason
    doubted = decide(replace(promising, checks=[serious]))
    assert (doubted.status, "data check action shift is serious" in doubted.reason) == (UNKNOWN, True)


def test_without_an_environment_the_model_and_the_estimates_are_named(envless: Results) -> None:
    errors = {
        seed: replace(e, trust=replace(e.trust, horizon=0, model_error=[2.0], persistence_error=[1.0]))
        for seed, e in envless.errors.items()
    }
    agents = envless.offline.agents
    worst = PooledEstimate(value=-1e6, per_step=-1e4, low=-2e6, high=-5e5)
    policy = replace(agents["policy"], fqe=worst, model=worst, model_pessimistic=worst)
    offline = replace(envless.offline, agents={**agents, "policy": policy})
    decision = decide(replace(envless, errors=errors, offline=offline))
    assert decision.status == STAY
    assert decision.reason.startswith(
        "The world model is no better than no change after one step, and all estimates rank the policy below behavior"
        " cloning."
    )
    assert " per step" in decision.reason
    assert any("Improve the world model first" in step for step in decision.next_steps)


def test_a_reward_that_is_not_predicted_has_its_own_next_step(results: Results) -> None:
    errors = {
        seed: replace(e, reward_mae=[0.5] * len(e.horizons), reward_baseline_mae=[0.3] * len(e.horizons))
        for seed, e in results.errors.items()
    }
    steps = decide(scored(replace(results, errors=errors), policy=0.0, bc=0.0, logged=9.0)).next_steps
    assert steps[0].startswith("Make the reward predictable first")
    assert not any("Improve the world model" in step for step in steps)


def test_the_summary_is_flat_and_short(results: Results, envless: Results, tmp_path: Path) -> None:
    for finished in (results, envless):
        write_summary(finished, decide(finished), tmp_path / "summary.json")
        content = json.loads((tmp_path / "summary.json").read_text())
        assert content.pop("status") == decide(finished).answer
        assert content.pop("best_baseline", None) == ("bc" if finished is results else None)
        assert 5 <= len(content) <= 10
        assert all(isinstance(value, int | float) for value in content.values())
    assert "policy_return" not in content
