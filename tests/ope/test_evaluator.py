"""The policy evaluator on logs of a small world, its stages, and the ranking by its estimates."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from pydantic import TypeAdapter
from toys import hidden_velocity

from pipeline.cli.select import Candidate, candidates_of_bundles, candidates_of_experiment, select_policy
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.ingest.writer import write_dataset
from pipeline.ope import OfflineConfig
from pipeline.ope.evaluated_policy import EvaluatedPolicy
from pipeline.ope.evaluator import PolicyEvaluator
from pipeline.ope.results import (
    Agreement,
    FQEEstimate,
    ImportanceEstimate,
    LoggedValue,
    ModelEstimate,
    PolicyEstimates,
    PooledEstimate,
    SeedEstimates,
    TrueValue,
)
from pipeline.ope.summary import ESTIMATORS, flat, offline_result
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.serving.bundle import bundle_spec, save_bundle
from pipeline.stages import evaluate, evaluate_offline
from pipeline.stages.stage import stage
from pipeline.validation.records import load_record
from pipeline.world_models.checkpoint import save_world_model
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble
from pipeline.world_models.rssm import RSSM, RSSMConfig

ROOT = Path(__file__).parents[2]
QUICK = {"updates": 30, "critics": 2, "hidden": [8], "density_updates": 30, "bootstrap": 50, "least_ess": 0.5}
CONFIG = OfflineConfig(discount=0.9, planned_rows=17, planned_starts=3, **QUICK)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("logs") / "dataset", hidden_velocity(30), "line", 0.3, 0)


@pytest.fixture(scope="module")
def model(logs: PreparedDataset) -> Any:
    torch.manual_seed(0)
    config = EnsembleConfig(members=3, elites=2, width=8, depth=1)
    return GaussianEnsemble(config, build_data_spec(logs)).eval().requires_grad_(False)


def policy_for(encoder: Any) -> SAC:
    torch.manual_seed(1)
    return SAC(SACConfig(hidden=[8]), LearnerSpec(encoder.state_dim, 1))


def test_logged_value_is_that_of_the_held_out_episodes(logs: PreparedDataset, model: Any):
    found = PolicyEvaluator(logs, model, CONFIG, 0).logged()
    returns, weighted, weights = [], 0.0, 0.0
    held_out = logs.episodes("held_out")
    longest = int(logs.episode_lengths("held_out").max())
    for e in held_out:
        rows = np.arange(logs.offsets[e], logs.offsets[e + 1] - 1)
        discount = 0.9 ** np.arange(longest)
        returns.append((discount[: len(rows)] * logs.reward[rows]).sum())
        weighted += returns[-1]
        weights += discount.sum() if logs.terminal[rows].any() else discount[: len(rows)].sum()
    assert logs.terminal[logs.steps("held_out")].any()
    assert found.episodes == len(held_out)
    assert found.value == pytest.approx(np.mean(returns), rel=1e-5)
    assert found.per_step == pytest.approx(weighted / weights, rel=1e-5)
    assert found.return_mean == pytest.approx(logs.episode_returns("held_out").mean(), rel=1e-5)
    assert found.low < found.value < found.high


def test_actions_along_the_logs_are_those_of_filtered_states(logs: PreparedDataset, model: Any):
    torch.manual_seed(0)
    recurrent = RSSM(RSSMConfig(deter=6, stoch=2, width=8, members=2), build_data_spec(logs)).eval()
    policy, rows = policy_for(recurrent), logs.steps("train")[::3]
    judged = EvaluatedPolicy(SimpleNamespace(policy=policy, encoder=recurrent), model)
    assert not judged.shares_state
    expected = judged.act(encode_transitions(logs, "train", recurrent).next_state)[::3]
    torch.testing.assert_close(judged.actions_along(logs, "train", rows + 1), expected)


def test_all_estimates_of_a_policy(logs: PreparedDataset, model: Any):
    judge, encoder = PolicyEvaluator(logs, model, CONFIG, 0), model.actor_encoder()
    agent: Any = SimpleNamespace(policy=policy_for(encoder), encoder=encoder)
    found = judge(agent)
    assert judge(agent) == found  # nothing is left to chance
    for name in ("fqe", "model", "model_pessimistic", "importance"):
        estimate = ESTIMATORS[name](found)
        assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]
    assert found.fqe.transitions == len(logs.steps("train"))
    assert found.fqe.per_step == pytest.approx(0.1 * found.fqe.value)
    assert found.model_pessimistic.value < found.model.value
    assert len(found.model.members) == 2
    assert found.model.starts == len(logs.episodes("held_out"))
    assert 0.5 < found.importance.ess <= len(logs.episodes("held_out"))
    assert {"fqe", "fqe_low", "model_return_mean", "importance_ess"} <= set(flat(found))


def test_too_few_effective_episodes_are_refused(logs: PreparedDataset, model: Any):
    judge = PolicyEvaluator(logs, model, OfflineConfig(**{**vars(CONFIG), "least_ess": 1000.0}), 0)
    encoder = model.actor_encoder()
    found = judge.importance(EvaluatedPolicy(SimpleNamespace(policy=policy_for(encoder), encoder=encoder), model))  # type: ignore[arg-type]
    assert found.value is None
    assert found.ess > 0
    assert "effective episodes of" in found.reason
    assert "fewer than 1000" in found.reason


def test_a_policy_that_plans_is_judged_on_fewer_states(logs: PreparedDataset, model: Any):
    class Planner:
        asked, plans = 0, True

        def action_density(self) -> str:
            return "the policy has no density"

        def act(self, state: torch.Tensor, generator: Any) -> torch.Tensor:
            self.asked += len(state)
            return -state[:, :1].clamp(-1, 1)

    planner: Any = Planner()
    found = PolicyEvaluator(logs, model, OfflineConfig(**{**vars(CONFIG), "horizon": 5}), 0)(
        SimpleNamespace(policy=planner, encoder=model.actor_encoder())  # type: ignore[arg-type]
    )
    assert found.fqe.transitions == 17
    assert found.model.starts == 3
    assert planner.asked == 17 + len(logs.episodes("held_out")) + 5 * 3 * 2
    assert found.importance.reason == "the policy has no density"


# --- the stages ---


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["offline"], params["baselines"] = dict(QUICK), ["bc"]
    params["evaluation"] |= {"bootstrap": 20, "imagined_horizon": 3, "imagined_starts": 4, "episodes": 2}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    logs = write_dataset(tmp_path / "data/dataset", hidden_velocity(20), "line", 0.3, 0)
    torch.manual_seed(0)
    model = GaussianEnsemble(EnsembleConfig(members=3, elites=2, width=8, depth=1), build_data_spec(logs))
    save_world_model(tmp_path / "data/world_model/seed-0", model, {})
    encoder = model.actor_encoder()
    for folder, name, learner in (
        ("policy/seed-0", "sac", policy_for(encoder)),
        ("baselines/seed-0/bc", "bc", BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(encoder.state_dim, 1))),
    ):
        facts = bundle_spec(name, learner.config, logs, model.data_spec, 0, [])
        save_bundle(tmp_path / "data" / folder, learner, encoder, facts, {"rows": []}, "# card\n")
    return tmp_path


def test_stages_write_and_track_offline_estimates(project: Path):
    evaluate_offline.main(0)
    evaluate.main()
    judged = json.loads((project / "data/offline/seed-0.json").read_text())
    result = json.loads((project / "reports/metrics/offline.json").read_text())
    assert result["agents"]["policy"]["fqe"]["value"] == judged["agents"]["policy"]["fqe"]["value"]
    assert result["agents"]["policy"]["true"] is None
    assert result["agreement"] is None
    (candidate,) = candidates_of_experiment()
    assert candidate.true_return is None
    assert candidate.estimates["fqe_low"] == pytest.approx(judged["agents"]["policy"]["fqe"]["low"])
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("offline-mbrl").experiment_id])  # type: ignore[union-attr]
    told = [r for r in runs if "offline/fqe" in r.data.metrics]
    assert len(told) == 3  # both stages and their parent
    value = judged["agents"]["policy"]["fqe"]["value"]
    assert [r.data.metrics["offline/fqe"] for r in told] == pytest.approx([value] * 3)  # the file has fewer digits


def test_bundles_are_judged_where_they_lie(project: Path):
    bundles = [Path("data/policy/seed-0"), Path("data/baselines/seed-0/bc")]
    found = candidates_of_bundles(bundles, Path("data/dataset"), Path("data/world_model/seed-0"), 0, 0)
    assert [c.name for c in found] == ["data/policy/seed-0", "data/baselines/seed-0/bc"]
    evaluate_offline.main(0)
    estimates = load_record(TypeAdapter(SeedEstimates), Path("data/offline/seed-0.json"))
    assert found[1].estimates == pytest.approx(flat(estimates.agents["bc"]))
    with pytest.raises(ValueError, match="name no environment; leave --episodes out"):
        candidates_of_bundles(bundles, Path("data/dataset"), Path("data/world_model/seed-0"), 2, 0)


def test_an_experiment_joins_estimates_with_returns_of_the_same_weights(project: Path):
    def judged(digest: str, low: float, discount: float = 0.9) -> None:
        with stage("evaluate_offline", 0) as run:
            run.log_params({"penalty": {"weight": low}, "policy_sha256": digest, "offline": {"discount": discount}})
            run.log_metrics({"offline/fqe": low + 1, "offline/fqe_low": low}, step=0)

    with pytest.raises(ValueError, match="no finished run of evaluate_offline"):
        candidates_of_experiment()
    judged("dd", 9.0, discount=0.99)  # cannot be compared with the newest
    judged("aa", 1.0)
    judged("bb", 2.0)
    with stage("evaluate") as run:
        run.log_params({"policy_sha256": {"seed-0": "bb", "seed-1": "cc"}})
        run.log_metrics({"evaluate/seed-0/return": 20.0, "evaluate/seed-1/return": 30.0}, step=0)
    found = {c.name: c for c in candidates_of_experiment()}
    assert set(found) == {"penalty.weight 1.0, seed 0", "penalty.weight 2.0, seed 0"}
    assert found["penalty.weight 1.0, seed 0"].true_return is None
    assert found["penalty.weight 2.0, seed 0"].true_return == 20.0
    assert found["penalty.weight 2.0, seed 0"].estimates == {"fqe": 3.0, "fqe_low": 2.0}


# --- the ranking ---


def test_selection_ranks_and_tells_how_well_it_did(tmp_path: Path):
    candidates = [
        Candidate("a", {"fqe": 9.0, "fqe_low": 1.0}, 5.0),
        Candidate("b", {"fqe": 5.0, "fqe_low": 4.0}, 7.0),
        Candidate("c", {"fqe": 6.0, "fqe_low": 3.0}, 6.0),
        Candidate("d", {"model": 6.0}, 8.0),
    ]
    lines = select_policy(candidates, "fqe_low", 1, tmp_path / "out.json")
    assert [line.split()[-1] for line in lines[1:4]] == ["b", "c", "a"]
    assert lines[0].split() == ["fqe", "fqe_low", "true", "return", "policy"]
    assert "no `fqe_low`: d" in lines
    assert "fqe_low: Spearman 1.00, regret@1 0.0 over 3 policies" in lines
    assert "fqe: Spearman -1.00, regret@1 2.0 over 3 policies" in lines
    written = json.loads((tmp_path / "out.json").read_text())
    assert [p["name"] for p in written["policies"]] == ["b", "c", "a"]
    assert written["agreement"]["fqe"] == {"policies": 3, "spearman": -1.0, "regret": 2.0}
    assert any(
        line.startswith("fqe: Spearman -1.00, regret@2 1.0") for line in select_policy(candidates, "fqe", 2, None)
    )


def test_selection_without_the_estimate_says_what_to_run():
    with pytest.raises(ValueError, match="did you mean `fqe_low`"):
        select_policy([], "fqe_lo", 1, None)
    with pytest.raises(ValueError, match="none of 1 policies has the estimate `fqe_low`"):
        select_policy([Candidate("a", {"fqe": 1.0}, None)], "fqe_low", 1, None)
    (line,) = [x for x in select_policy([Candidate("a", {"fqe": 1.0}, None)], "fqe", 1, None) if x.endswith(" a")]
    assert line.split() == ["1", "1.0", "a"]


def test_seeds_are_pooled_and_compared_with_the_truth():
    def seed(number: int, policy: float, bc: float) -> SeedEstimates:
        def estimates(value: float) -> PolicyEstimates:
            bounds = {"value": value, "low": value - 1, "high": value + 2, "per_step": value / 10}
            model = ModelEstimate(**bounds, members=[], return_mean=0.0, return_low=0.0, return_high=0.0, starts=1)
            fqe = FQEEstimate(**bounds, critics=[], drift=-value, clamped=0.0, transitions=1)
            importance = ImportanceEstimate(*[None] * 4, unweighted=None, ess=None, reason="too few")
            return PolicyEstimates(fqe, model, model, importance)

        logged = LoggedValue(0.0, -1.0, 2.0, 0.0, return_mean=0.0, episodes=1)
        return SeedEstimates(2, number, 0.9, 5, logged, {"policy": estimates(policy), "bc": estimates(bc)})

    truth = {
        "policy": [TrueValue(return_mean=10.0, value=4.0), TrueValue(return_mean=30.0, value=6.0)],
        "bc": [TrueValue(return_mean=20.0, value=1.0), TrueValue(return_mean=0.0, value=1.0)],
    }
    summary = offline_result([seed(0, 5.0, 1.0), seed(1, 3.0, 2.0)], truth)
    policy = summary.agents["policy"]
    assert policy.model == PooledEstimate(value=4.0, per_step=0.4, low=2.0, high=7.0)
    assert policy.fqe == PooledEstimate(value=4.0, per_step=0.4, low=2.0, high=7.0, drift=-5.0, clamped=0.0)
    assert policy.importance == PooledEstimate(None, None, None, None, reason="too few")
    assert policy.true == TrueValue(return_mean=20.0, value=5.0)
    assert summary.agreement is not None
    # estimates 5 1 3 2 beside returns 10 20 30 0: ranks 4 1 3 2 and 2 3 4 1, 1 - 6 (4 + 4 + 1 + 1) / 60
    assert summary.agreement["fqe"] == Agreement(4, regret_at_1=20.0, spearman=pytest.approx(0.0), error=1.25)
    assert summary.agreement["importance"] is None
