"""Any world model x any learner on logs of discrete actions, and the agent that comes of it."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import HISTORY, build_data_spec, linear_world, logged_in, world_model

from pipeline.cli.export import export_onnx
from pipeline.encoders.standard import StandardEncoder
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies import POLICIES
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import BundleSpec, encoder_spec, save_bundle
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.uncertainty import PENALTIES, PenaltySpec, build_penalty

CHOICES, ROWS, START = 3, 16, 4
MODELS = ["gaussian_ensemble", HISTORY, "rssm"]
RAW = linear_world(300)
RAW["action"] = torch.eye(CHOICES)[torch.randint(CHOICES, (300,), generator=torch.Generator().manual_seed(3))]
OPTIONS = [("sac", {}), ("sac", {"conservatism": 0.5, "bc_weight": 0.4}), ("actor_critic", {}),
           ("actor_critic", {"gradient": "reinforce"}), ("bc", {}), ("iql", {})]  # fmt: skip
DISCRETE_LEARNERS = [name for name, learner in POLICIES.items() if learner.discrete]


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def policy(name: str, state_dim: int, options: dict[str, Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    config = POLICIES[name].Config(hidden=[8], batch_size=ROWS, **options)
    task = LearnerSpec(state_dim, CHOICES, -9.0, 1.0, reward_std=2.0, penalty_weight=0.5, action_kind="discrete")
    return POLICIES[name](config, task), config


@pytest.mark.parametrize("penalty_name", ["ensemble_std", "distance", "bellman"])
@pytest.mark.parametrize(("model_name", "chosen"), itertools.product(MODELS, OPTIONS), ids=str)
def test_any_model_any_learner(model_name: str, chosen: tuple[str, dict[str, Any]], penalty_name: str):
    assert penalty_name in PENALTIES
    model = world_model(model_name, RAW)
    learner, _ = policy(chosen[0], model.state_dim, chosen[1])
    logged, penalty = logged_in(model, RAW), build_penalty(PenaltySpec(penalty_name))
    penalty.fit(logged, draws())
    imagination, rollout = Imagination(model, penalty), RolloutSpec(length=3, starts=20, real_ratio=0.25)
    replay = MixedReplay(logged, imagination, rollout) if learner.imagines else LoggedReplay(logged)
    replay.refresh(learner, draws())
    (batch,) = replay.batches(1, ROWS, draws())
    assert torch.equal(batch.action.sort(1).values, torch.eye(CHOICES)[-1:].expand(ROWS, -1))  # one-hot, imagined too
    before = [p.detach().clone() for p in learner.actor.parameters()]
    learned = learner.update(batch, imagination, draws())
    assert all(torch.isfinite(value).all() for value in learned.values())
    assert not all(torch.equal(a, b) for a, b in zip(before, learner.actor.parameters(), strict=True))


@pytest.mark.parametrize(("model_name", "name"), itertools.product(MODELS, DISCRETE_LEARNERS))
def test_agent_tells_numbers_and_is_exported(model_name: str, name: str, tmp_path: Path):
    encoder, facts = world_model(model_name, RAW).actor_encoder(), build_data_spec(RAW)
    learner, config = policy(name, encoder.state_dim, {})
    described = BundleSpec(
        policy=name, config=dataclasses.asdict(config), obs_shapes=facts.obs_shapes,
        statistics=facts.statistics, action_low=[0.0] * CHOICES, action_high=[1.0] * CHOICES,
        env_id=None, env_kwargs={}, dataset={"name": "toy", "transitions": 300}, seed=0, privileged_knowledge=[],
        action_kind="discrete", action_start=START, **encoder_spec(encoder),
    )  # fmt: skip
    save_bundle(tmp_path / "bundle", learner, encoder, described, {"rows": []}, "# card\n")
    agent = load_agent(tmp_path / "bundle")
    obs = RAW["obs"][:200].numpy().astype(np.float32)
    agent.reset(200)
    actions = agent.act(obs)
    assert actions.shape == (200,)
    assert actions.dtype == np.int64
    assert set(actions.tolist()) <= set(range(START, START + CHOICES))
    if isinstance(encoder, StandardEncoder):
        onnxruntime = pytest.importorskip("onnxruntime")
        export_onnx(tmp_path / "bundle", tmp_path / "policy.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
        options = json.loads(session.get_modelmeta().custom_metadata_map["action"])
        assert options == [{"value": START + i} for i in range(CHOICES)]
        (found,) = session.run(None, {"obs": obs})
        assert found.tolist() == actions.tolist()
