"""Any world model x any penalty x any learner, and the agent that comes of it."""

import dataclasses
import inspect
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from contract import members, missing
from toys import HISTORY, build_data_spec, linear_world, logged_in

from pipeline.encoders.standard import StandardEncoder
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies import POLICIES
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.protocols import Critic, PolicyLearner
from pipeline.protocols import Actor, StateEncoder, ValuePenalty, WorldModel
from pipeline.protocols import Penalty as PenaltyProtocol
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import BundleSpec, encoder_spec, save_bundle
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay
from pipeline.types import Prediction, Step, Transitions
from pipeline.uncertainty import PENALTIES, Penalty, PenaltySpec, build_penalty
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import load_world_model, save_world_model
from pipeline.world_models.protocols import LatentWorldModel, TrainableWorldModel, is_latent

MODELS = [*WORLD_MODELS, HISTORY]
RAW = linear_world(300)
ROWS, LOW, HIGH = 16, [-2.0, 0.0], [2.0, 10.0]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def world_model(name: str) -> Any:
    return toys.world_model(name, RAW)


def fitted(name: str, logged: Transitions) -> PenaltyProtocol:
    penalty = build_penalty(PenaltySpec(name))
    penalty.fit(logged, draws())
    return penalty


def policy(name: str, state_dim: int = 3) -> tuple[Any, Any]:
    torch.manual_seed(0)
    chosen = POLICIES[name]
    config = chosen.Config(hidden=[8], batch_size=ROWS)
    return chosen(config, LearnerSpec(state_dim, 2, -9.0, 1.0, reward_std=2.0, penalty_weight=0.5)), config


@pytest.mark.parametrize(("model_name", "penalty_name", "policy_name"), itertools.product(MODELS, PENALTIES, POLICIES))
def test_any_model_any_penalty_any_learner(model_name: str, penalty_name: str, policy_name: str):
    model = world_model(model_name)
    learner, _ = policy(policy_name, model.state_dim)
    logged = logged_in(model, RAW)
    imagination = Imagination(model, fitted(penalty_name, logged))
    rollout = RolloutSpec(length=3, starts=20, real_ratio=0.25)
    replay = MixedReplay(logged, imagination, rollout) if learner.imagines else LoggedReplay(logged)
    metrics = replay.refresh(learner, draws())
    assert all(np.isfinite(value) for value in metrics.values())
    assert ("imagined_penalty" in metrics) == learner.imagines
    (batch,) = replay.batches(1, ROWS, draws())
    assert len(batch) == ROWS
    before = learner.act(logged.state[:5], None).detach().clone()
    learned = learner.update(batch, imagination, draws())
    assert all(torch.isfinite(value).all() for value in learned.values())
    imagined_penalty = (metrics | learned).get("imagined_penalty")
    new_critic = penalty_name == "bellman" and policy_name == "actor_critic"  # it gives every state the same value
    assert policy_name != "bc" or imagined_penalty is None
    assert policy_name not in ("sac", "actor_critic") or imagined_penalty is not None
    assert imagined_penalty is None or (imagined_penalty == 0 if new_critic else imagined_penalty > 0)
    after = learner.act(logged.state[:5], None)
    assert after.shape == (5, 2)
    assert after.abs().max() <= 1
    assert not torch.equal(before, after)
    assert learner.updates_done == 1


@pytest.mark.parametrize("name", MODELS)
def test_isinstance_sees_a_world_model_on_any_python(name: str):
    """From Python 3.12 on it looks in classes and in an object's own dictionary, where a module keeps no buffers."""
    model = world_model(name)
    for protocol in (StateEncoder, WorldModel):
        for member in {*protocol.__annotations__, *(n for n in vars(protocol) if not n.startswith("_"))}:
            inspect.getattr_static(model, member)


@pytest.mark.parametrize("name", MODELS)
def test_world_model_keeps_its_contract(name: str, tmp_path: Path):
    model = world_model(name)
    assert missing(model, LatentWorldModel if is_latent(model) else TrainableWorldModel) == []
    assert isinstance(model, WorldModel)
    assert isinstance(model.actor_encoder(), StateEncoder)
    obs, action = {"state": RAW["obs"][:ROWS]}, RAW["action"][:ROWS]
    state = model.observe(model.initial(ROWS), action, obs, torch.ones(ROWS))
    decoded = model.decode(state)["state"]
    assert decoded.shape == obs["state"].shape
    torch.testing.assert_close(decoded[:, 2], obs["state"][:, 2])  # the toy's third feature never varies
    prediction = model.predict(state, action)
    assert isinstance(prediction, Prediction)
    assert (prediction.std > 0).all()
    step = model.draw(state, action, prediction, draws(), None)
    assert isinstance(step, Step)
    assert step.state.shape == state.shape
    assert ((step.continue_prob >= 0) & (step.continue_prob <= 1)).all()
    for seed, same in ((0, True), (1, False)):
        again = model.draw(state, action, prediction, draws(seed), None)
        assert torch.equal(again.state, step.state) == same  # the generator is the only randomness
    member = model.draw_members(ROWS, draws())
    assert torch.equal(model.draw(state, action, prediction, draws(), member).member, member)
    save_world_model(tmp_path / "model", model, {})
    loaded = load_world_model(tmp_path / "model").predict(state, action)
    assert torch.equal(loaded.mean, prediction.mean)
    assert torch.equal(loaded.std, prediction.std)


@pytest.mark.parametrize("name", ["checkpoint_groups", "loss", "termination", "data_spec", "predict"])
def test_a_missing_member_is_named(name: str):
    class Incomplete:
        pass

    model = world_model("gaussian_ensemble")
    for member in members(TrainableWorldModel) - {name}:
        setattr(Incomplete, member, getattr(model, member))
    assert missing(Incomplete(), TrainableWorldModel) == [name]


@pytest.mark.parametrize(("model_name", "name"), itertools.product(MODELS, PENALTIES))
def test_penalty_is_never_negative_and_in_units_of_reward(model_name: str, name: str):
    model = world_model(model_name)
    data = logged_in(model, RAW)
    penalty = fitted(name, data)
    assert isinstance(penalty, PenaltyProtocol)
    assert penalty.kind in ("aleatoric", "epistemic", "total")
    prediction = model.predict(data.state, data.action)
    sample = model.draw(data.state, data.action, prediction, draws(), None).sample
    assert sample.shape == model.targets(data).shape == prediction.mean.shape[1:]
    action = data.action + 0.1  # beside what was logged

    def unsure() -> torch.Tensor:
        step = (model, data.state, action, prediction)
        if isinstance(penalty, ValuePenalty):
            assert torch.equal(penalty(*step, sample), torch.zeros(len(data)))
            return penalty.penalty_under_value(*step, lambda state: model.reward_scale * state.sum(-1), draws())
        return penalty(*step, sample)

    first = unsure()
    assert first.shape == (len(data),)
    assert (first >= 0).all()
    assert (first > 0).any()
    model.reward_scale *= 2
    torch.testing.assert_close(unsure(), 2 * first)


@pytest.mark.parametrize("name", POLICIES)
def test_learner_keeps_its_contract(name: str):
    learner, _ = policy(name)
    assert missing(learner, PolicyLearner) == []
    critic = learner.critic_for_states()
    assert critic is None or isinstance(critic, Critic)
    held = {id(p) for o in learner.optimizers() for group in o.param_groups for p in group["params"]}
    assert held == {id(p) for p in learner.parameters() if p.requires_grad}
    state = torch.randn(7, 3, generator=draws())
    assert torch.equal(learner.act(state, None), learner.act(state, None))
    assert torch.equal(learner.act(state, draws()), learner.act(state, draws()))


def test_a_learners_actions_are_an_actor():
    learner, _ = policy("sac")

    def actor(state: torch.Tensor, t: int, generator: torch.Generator | None) -> torch.Tensor:
        return learner.act(state, generator)

    assert isinstance(actor, Actor)
    model = world_model("gaussian_ensemble")
    rollout = Imagination(model, Penalty("ensemble_std")).rollout(actor, torch.zeros(4, 3), 3, draws())
    assert rollout.action.shape == (4, 3, 2)
    assert rollout.state.shape == (4, 4, 3)
    assert len(rollout.transitions()) == int(rollout.alive.sum())


@pytest.mark.parametrize(("model_name", "name"), itertools.product(MODELS, POLICIES))
def test_agent_of_any_learner_acts_in_the_environments_units(model_name: str, name: str, tmp_path: Path):
    encoder, facts = world_model(model_name).actor_encoder(), build_data_spec(RAW)
    learner, config = policy(name, encoder.state_dim)
    markov = isinstance(encoder, StandardEncoder)
    own = encoder_spec(encoder)
    described = BundleSpec(
        policy=name, config=dataclasses.asdict(config), obs_shapes=facts.obs_shapes,
        statistics=facts.statistics, action_low=LOW, action_high=HIGH, env_id=None, env_kwargs={},
        dataset={"name": "toy", "transitions": 300}, seed=0, privileged_knowledge=[], **own,
    )  # fmt: skip
    save_bundle(tmp_path / "bundle", learner, encoder, described, {"rows": []}, "# card\n")
    agent = load_agent(tmp_path / "bundle")
    obs = RAW["obs"][:ROWS].numpy().astype(np.float64)
    agent.reset(ROWS)
    actions = agent.act(obs)
    assert isinstance(actions, np.ndarray)
    assert actions.shape == (ROWS, 2)
    assert (actions >= LOW).all()
    assert (actions <= HIGH).all()
    stateful = not np.array_equal(agent.act({"state": obs}), actions)  # by name as well
    assert stateful != markov
    agent.reset(ROWS)
    assert np.array_equal(agent.act(obs), actions)
    agent.reset(1)
    np.testing.assert_allclose(agent.act(obs[:1]), actions[:1], rtol=1e-5)
