"""Discrete actions through every stage, and from images and vectors together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from closure import ROOT

from pipeline.cli.preset import apply_preset
from pipeline.data.dataset import open_dataset
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.evaluation.episodes import run_episodes
from pipeline.imagination import Imagination
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.serving.agent import PolicyAgent, load_agent
from pipeline.serving.bundle import bundle_spec
from pipeline.stages import (
    assess_world_model,
    baseline,
    evaluate,
    evaluate_offline,
    fit_world_model,
    ingest,
    learn_policy,
    report,
)
from pipeline.types import Transitions
from pipeline.world_models.rssm import RSSM, RSSMConfig

SMALL = {
    "dataset": {"episodes": 20},
    "world_model": {"members": 2, "elites": 2, "width": 16, "depth": 1},
    "fit": {"max_epochs": 1},
    "rollout": {"starts": 50, "refresh_every": 20},
    "policy": {"updates": 40, "hidden": [8]},
    "bc": {"updates": 40, "hidden": [8]},
    "weighted_bc": {"updates": 40, "hidden": [8]},
    "iql": {"updates": 40, "hidden": [8]},
    "monitor": {"every": 20, "episodes": 1},
    "offline": {"updates": 20, "critics": 2, "hidden": [8], "density_updates": 20, "bootstrap": 20, "horizon": 5},
    "evaluation": {"episodes": 2, "bootstrap": 20, "imagined_horizon": 5, "imagined_starts": 8},
}


@pytest.mark.parametrize("history", [0, 2])
def test_every_stage_of_cartpole(history: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    apply_preset("cartpole", tmp_path / "params.yaml")
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params = {k: v | SMALL[k] if k in SMALL else v for k, v in params.items()}
    for block in ("world_model", *params["baselines"]):
        params[block]["history"] = history
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "data/logs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    ingest.main()
    for name in params["baselines"]:
        baseline.main(name, 0)
    for seeded in (fit_world_model, assess_world_model, learn_policy, evaluate_offline):
        seeded.main(0)
    evaluate.main()
    report.main()
    spec = open_dataset("data/dataset").spec
    assert (spec.action_kind, spec.action_dim, spec.action_bounds) == ("discrete", 2, "declared")
    result = json.loads(Path("reports/metrics/evaluate.json").read_text())
    for name in ("policy", "bc", "weighted_bc", "iql", "random"):
        assert 8 <= result["scores"][name]["return_mean"] <= 500  # it takes some steps for a pole to fall
    judged = json.loads(Path("data/offline/seed-0.json").read_text())["agents"]
    assert judged["bc"]["fqe"]["value"] is not None
    assert judged["bc"]["importance"]["ess"] > 0  # a cloned policy over discrete actions has probabilities
    agent = load_agent("data/policy/seed-0")
    assert set(agent.act(np.zeros((1, 4))).tolist()) <= {0, 1}
    assert agent.encoder.state_dim == 4 + history * (2 + 4)  # a choice, one-hot, and the changes of all four
    assert Path("reports/index.html").exists()


def test_images_and_vectors_together(tmp_path: Path):
    kwargs = {"env_id": "CartPole-v1", "size": 32, "state": True}
    behaviors = [{"name": "balance", "share": 1.0, "noise": 1.0}]
    block = {"source": "collect", "path": "x", "held_out_path": "x", "env_id": "pipeline.envs.wrappers:Pixels-v0",
             "env_kwargs": kwargs, "episodes": 3, "behaviors": behaviors}  # fmt: skip
    source, config = choose(SOURCES, block, "dataset", key="source")
    dataset = write_dataset(tmp_path / "d", source(config).read(), "cartpole", 0.3, 0)
    assert dataset.spec.obs_shapes == {"pixels": [32, 32, 3], "state": [4]}
    assert dataset.action[dataset.steps("all")].sum(1).tolist() == [1.0] * dataset.spec.transitions
    torch.manual_seed(0)
    facts = build_data_spec(dataset)
    model = RSSM(RSSMConfig(deter=8, stoch=4, width=8, members=2, image_depth=2), facts)
    learner = SAC(SACConfig(hidden=[8]), LearnerSpec.of(model.state_dim, 2, facts.statistics, action_kind="discrete"))
    logged = encode_transitions(dataset, "train", model)
    learner.update(logged, Imagination(model), torch.Generator().manual_seed(0))
    imagined = Imagination(model).rollout(
        lambda state, t, generator: learner.act(state, generator), logged.state[:8], 3, torch.Generator().manual_seed(0)
    )
    assert isinstance(steps := imagined.transitions(), Transitions)
    assert steps.action.sum(1).eq(1).all()
    agent = PolicyAgent(learner, model, bundle_spec("sac", learner.config, dataset, facts, 0, []))
    ran = run_episodes(agent, dataset.spec.env_id or "", kwargs, episodes=2, seed=0)
    assert (ran.returns == ran.lengths).all()
