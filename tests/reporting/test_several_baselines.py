"""The policy beside several baselines: the best of them, whether the world model helps, and what to deploy."""

from dataclasses import replace
from pathlib import Path

import pytest
from reporting_outputs import write_outputs

from pipeline.evaluation.results import Learner, ScoreSummary
from pipeline.ope.results import PooledEstimate
from pipeline.reporting.decision import BASELINE, DEPLOY, STAY, UNKNOWN, decide
from pipeline.reporting.figures.policy import baselines_figure
from pipeline.reporting.figures.style import COLORS
from pipeline.reporting.results import Results, load
from pipeline.reporting.tables import score_table
from pipeline.reporting.text.glance import BAD, GOOD, OPEN, glance
from pipeline.reporting.text.ope import offline_tables, offline_verdict
from pipeline.reporting.text.score_lines import LABELS

NAMES = ["bc", "td3_bc", "iql", "mine"]  # one of them is no learner of the project
CALLED = ["behavior cloning", "TD3+BC", "IQL", "mine"]


@pytest.fixture(scope="module", params=[True, False], ids=["environment", "logs alone"])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("several")
    write_outputs(root, [0], with_environment=request.param, baselines=NAMES)
    return load(root, [0])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("alone")
    write_outputs(root, [0], with_environment=False, baselines=NAMES)
    return load(root, [0])


def scored(results: Results, **means: float) -> Results:
    """With these mean returns, each in an interval of 1 to both sides."""
    scores = {
        name: ScoreSummary(None, None, None, None, mean, (mean - 1, mean + 1), episodes=100, seeds=1)
        for name, mean in means.items()
    }
    return replace(results, evaluation=replace(results.evaluation, scores=scores))


def estimated(results: Results, logged: float, **values: float) -> Results:
    """With these rewards per step by every estimator, each in an interval of 0.1 to both sides; NaN: none."""

    def pooled(value: float) -> PooledEstimate:
        return PooledEstimate(100 * value, value, 100 * value - 10, 100 * value + 10)

    agents = {
        name: replace(agent, fqe=pooled(value), model=pooled(value), model_pessimistic=pooled(value))
        for (name, agent), value in zip(results.offline.agents.items(), values.values(), strict=True)
    }
    bounds = {"value": 100 * logged, "per_step": logged, "low": 100 * logged - 10, "high": 100 * logged + 10}
    offline = replace(results.offline, agents=agents, logged=replace(results.offline.logged, **bounds))
    return replace(results, offline=offline, checks=[])


def line(results: Results) -> tuple[str, str]:
    """The state and the text of the line on the baselines."""
    return next((reason.state, reason.text) for reason in glance(results) if reason.topic == "Baselines")


def test_all_agents_are_in_tables_figures_and_words(several: Results) -> None:
    assert [row[0] for row in score_table(several).rows] == ["policy", *CALLED, "logged behavior", "random actions"]
    for table in offline_tables(several).values():
        assert table.header == ["estimator", "policy", *CALLED]
        assert {len(row) for row in table.rows} == {6}
    assert "rank the policy above all 4 baselines: fitted Q evaluation" in offline_verdict(several)
    figure = baselines_figure(several)
    assert figure is not None
    drawn = [[str(curve.get_label()) for curve in axes.lines] for axes in figure.axes]
    assert drawn == [CALLED, CALLED]
    assert "mine" not in LABELS
    assert "mine" not in COLORS


@pytest.mark.parametrize(
    ("policy", "state", "answer"),
    [
        (20.0, GOOD, "The world model helps"),
        (11.0, OPEN, "Whether the world model helps is not clear"),
        (5.0, BAD, "The world model does not help"),
    ],
)
def test_the_best_baseline_answers_whether_the_world_model_helps(
    results: Results, policy: float, state: str, answer: str
) -> None:
    learners = {"policy": Learner("sac", 15_000, True), **{name: Learner(name, 6_000, False) for name in NAMES}}
    several = replace(results, evaluation=replace(results.evaluation, learners=learners))
    scores = scored(several, policy=policy, logged=3.0, bc=4.0, td3_bc=10.0, iql=9.0, mine=8.0)
    found, text = line(scores)
    assert found == state
    assert text.startswith(f"{answer}: the policy (15,000 updates) returns ")
    assert text.endswith(
        ", TD3+BC, the best of 4 baselines (6,000 updates), 10.0 [9.00, 11.0]; same logs, 100 real episodes each."
    )


def test_the_only_baseline_is_not_called_the_best(results: Results) -> None:
    text = line(scored(results, policy=20.0, logged=3.0, bc=4.0))[1]
    assert "the best of" not in text
    assert "behavior cloning (3,000 updates) 4.00 [3.00, 5.00]; same logs" in text


def test_a_policy_without_a_world_model_answers_nothing(results: Results) -> None:
    learners = {**results.evaluation.learners, "policy": Learner("iql", 15_000, False)}
    model_free = replace(results, evaluation=replace(results.evaluation, learners=learners))
    assert line(model_free)[0] == OPEN
    assert line(model_free)[1].startswith(
        "The policy learned without a world model itself: the policy (15,000 updates)"
    )


def test_without_an_environment_fitted_q_evaluation_answers_and_proves_nothing(alone: Results) -> None:
    state, text = line(estimated(alone, 0.0, policy=3.0, bc=1.0, td3_bc=2.0, iql=1.5, mine=0.5))
    assert state == OPEN
    assert text.startswith(
        "The world model helps: the policy (20,000 updates) earns per step 3.00 [2.90, 3.10], TD3+BC,"
    )
    assert text.endswith("same logs, fitted Q evaluation; nothing was measured.")


def test_the_baseline_to_deploy_is_named_with_its_folder(results: Results) -> None:
    learners = {**results.evaluation.learners, "td3_bc": Learner("td3_bc", 3000, False)}
    several = replace(results, evaluation=replace(results.evaluation, learners=learners))
    better = decide(scored(several, policy=5.0, logged=0.0, bc=1.0, td3_bc=9.0, random=-9.0))
    assert (better.status, better.answer) == (BASELINE, "deploy the baseline td3_bc")
    assert better.lines[0] == (
        "deploy the baseline td3_bc: The policy returns 5.00 [4.00, 6.00] (95 % interval), above logged behavior"
        " (0.00 [−1.00, 1.00]) and below TD3+BC, the best of 2 baselines (9.00 [8.00, 10.0])."
    )
    assert better.next_steps[0].startswith("Use `data/baselines/seed-0/td3_bc`: ")
    assert decide(scored(several, policy=8.0, logged=0.0, bc=1.0, td3_bc=9.0)).status == DEPLOY
    assert decide(scored(several, policy=-5.0, logged=0.0, bc=-4.0, td3_bc=-9.0)).status == STAY


def test_estimates_deploy_a_baseline_that_is_clearly_above_the_logs(alone: Results) -> None:
    best = estimated(alone, 0.0, policy=1.0, bc=0.0, td3_bc=3.0, iql=2.0, mine=0.5)
    decision = decide(best)
    assert decision.answer == "deploy the baseline td3_bc"
    assert decision.reason.startswith(
        "All estimates rank the policy below the best baseline. By fitted Q evaluation, the policy earns 1.00 [0.900,"
        " 1.10] per step, TD3+BC, the best of 4 baselines, 3.00 [2.90, 3.10], logged behavior"
    )
    assert decision.next_steps[0].startswith("Try `data/baselines/seed-0/td3_bc` where a person can step in")
    near = estimated(alone, 2.95, policy=1.0, bc=0.0, td3_bc=3.0, iql=2.0, mine=0.5)
    assert decide(near).status == STAY
    serious = [replace(check, severity="serious") for check in alone.checks[:1]]
    assert decide(replace(best, checks=serious)).answer == UNKNOWN


def test_a_policy_must_pass_every_baseline_and_one_without_a_number_decides_nothing(alone: Results) -> None:
    first = estimated(alone, 0.0, policy=4.0, bc=0.0, td3_bc=3.0, iql=2.0, mine=0.5)
    assert decide(first).status == DEPLOY
    diverged = estimated(alone, 0.0, policy=4.0, bc=0.0, td3_bc=float("nan"), iql=2.0, mine=0.5)
    assert decide(diverged).status == UNKNOWN
    assert "no estimate by fitted Q evaluation" in decide(diverged).reason


def test_results_without_a_baseline_are_refused_in_one_line(alone: Results) -> None:
    agents = {"policy": alone.offline.agents["policy"]}
    with pytest.raises(ValueError, match="the results have no baseline to compare with: evaluate one, such"):
        decide(replace(alone, offline=replace(alone.offline, agents=agents)))


def test_no_result_of_a_baseline_that_is_not_listed_is_read(tmp_path: Path) -> None:
    write_outputs(tmp_path, [0], baselines=["bc"])
    stale = tmp_path / "data/baselines/seed-0/iql"
    stale.mkdir()
    (stale / "history.json").write_text("{")
    assert list(load(tmp_path, [0]).baselines) == ["bc"]
