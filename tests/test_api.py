"""The whole pipeline by function calls, in a folder without params.yaml, DVC or MLflow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from closure import ROOT
from toys import hidden_velocity

from pipeline import api
from pipeline.world_models.results import WorldModelHistory

SMALL_OFFLINE = api.OfflineConfig(
    updates=20, critics=2, hidden=[8], density_updates=20, bootstrap=20, horizon=5, starts=8
)
SMALL_EVALUATION = api.EvaluationConfig(episodes=2, bootstrap=20, imagined_horizon=5, imagined_starts=8)
ONE_EPOCH = api.FitConfig(max_epochs=1)
TRAINER = api.TrainerConfig(accelerator="cpu", threads=1)
QUICK = {"trainer": TRAINER, "progress": False}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fitted(dataset: api.PreparedDataset, seed: int = 0) -> tuple[api.TrainableWorldModel, WorldModelHistory]:
    options = {"members": 2, "elites": 2, "width": 16, "depth": 1}
    return api.fit_world_model(dataset, fit=ONE_EPOCH, seed=seed, **QUICK, **options)


def learned(
    model: api.TrainableWorldModel, dataset: api.PreparedDataset, assessment: api.Assessment
) -> api.PolicyAgent:
    rollout = api.RolloutConfig(starts=50, refresh_every=10)
    return api.learn_policy(model, dataset, assessment, rollout=rollout, **QUICK, updates=20, hidden=[8])


def test_from_episodes_to_the_report(folder: Path) -> None:
    """Without an environment."""
    episodes = hidden_velocity(20).episodes
    dataset = api.ingest_episodes("logs", episodes, name="line", action_low=[-1.0], action_high=[1.0])
    assert api.open_dataset("logs").spec == dataset.spec
    model, history = fitted(dataset)
    assessment = api.assess_world_model(model, dataset)
    agent = learned(model, dataset, assessment)
    baselines = [api.learn_baseline(dataset, **QUICK, updates=20, hidden=[8])]
    offline = api.evaluate_offline(agent, dataset, model, baselines, config=SMALL_OFFLINE)
    evaluation = api.evaluate(agent, dataset, model, baselines, config=SMALL_EVALUATION)
    assert np.isfinite(offline.agents["bc"].fqe.value)
    assert evaluation.summary.scores["policy"] is None
    assert np.isfinite(evaluation.summary.imagined_return)
    page = api.write_report(
        "report", dataset, model, history, assessment, agent, baselines, evaluation, offline
    ).read_text()
    assert "policy sac, world model gaussian_ensemble" in page
    assert "behavior cloning" in page
    assert {path.name for path in folder.iterdir()} == {"logs", "report"}


def test_an_environment_gives_real_returns(folder: Path) -> None:
    dataset = api.ingest("logs", "collect", env_id="CartPole-v1", episodes=20, behaviors=[{"name": "balance"}])
    model, _ = fitted(dataset)
    agent = learned(model, dataset, api.assess_world_model(model, dataset))
    evaluation = api.evaluate(agent, dataset, model, config=SMALL_EVALUATION)
    assert evaluation.summary.scores["policy"].return_mean >= 8  # it takes some steps for a pole to fall
    assert evaluation.summary.baselines == []
    assert any(line.startswith(" policy: return") for line in evaluation.lines())


def test_equal_seeds_give_equal_results_and_files_keep_them(folder: Path) -> None:
    dataset = api.ingest_episodes("logs", hidden_velocity(20).episodes, action_low=[-1.0], action_high=[1.0])
    model, again, other = (fitted(dataset, seed)[0] for seed in (0, 0, 1))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    assert not all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())
    api.save_world_model(folder / "model", model, {})
    loaded = api.load_world_model(folder / "model")
    assessment = api.assess_world_model(model, dataset)
    assert api.assess_world_model(loaded, dataset).errors == assessment.errors
    agents = [learned(one, dataset, assessment) for one in (model, loaded)]
    api.save_policy(folder / "policy", agents[0])
    agents.append(api.load_agent(folder / "policy"))
    obs = np.random.default_rng(0).normal(size=(4, 1))
    actions = []
    for agent in agents:
        agent.reset(4)
        actions.append(agent.act(obs))
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], actions[2])


def test_a_wrong_option_is_named(folder: Path) -> None:
    dataset = api.ingest_episodes("logs", hidden_velocity(6).episodes, action_low=[-1.0], action_high=[1.0])
    with pytest.raises(ValueError, match=r"memebers.*did you mean `members`"):
        api.fit_world_model(dataset, memebers=3)
    with pytest.raises(ValueError, match=r"ensamble.*unknown"):
        api.fit_world_model(dataset, "ensamble")


def test_neither_dvc_nor_mlflow_is_loaded() -> None:
    code = "import sys, pipeline.api; print([m for m in ('dvc', 'mlflow') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert shown.strip() == "[]"
