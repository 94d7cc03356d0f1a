"""Any planner on any world model, and the bundle it travels in."""

import dataclasses
import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from contract import missing
from test_contracts import HIGH, LOW, RAW, world_model
from test_planning import Linear, draws, planner
from toys import build_data_spec, rewrite

from pipeline.evaluation.imagined import imagined_returns
from pipeline.imagination import Imagination
from pipeline.policies.planning import PLANNERS, Planner
from pipeline.policies.planning.example_plans import example_plans
from pipeline.policies.planning.objective import plan_value
from pipeline.policies.protocols import PlanningPolicy
from pipeline.policies.sac import SACConfig
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import BundleSpec, save_bundle
from pipeline.types import Transitions
from pipeline.uncertainty import Penalty
from pipeline.world_models import WORLD_MODELS

SMALL: dict[str, Any] = {"horizon": 4, "population": 12, "iterations": 2, "elites": 4}


def bundle_of(name: str, model_name: str, folder: Path, **options: Any) -> tuple[Planner, Path]:
    model, facts = world_model(model_name), build_data_spec(RAW)
    torch.manual_seed(1)
    solver = planner(name, model, Penalty("ensemble_std"), 0.5, **SMALL, **options)
    described = BundleSpec(
        policy=name, config=dataclasses.asdict(solver.config), obs_shapes=facts.obs_shapes,
        statistics=facts.statistics, action_low=LOW, action_high=HIGH, env_id=None, env_kwargs={},
        dataset={"name": "toy", "transitions": 300}, seed=0, privileged_knowledge=[],
        penalty={"name": "ensemble_std", "weight": 0.5}, encoder=model_name, encoder_config=vars(model.config),
    )  # fmt: skip
    save_bundle(folder, solver, model, described, {"rows": []}, "# card\n")
    return solver, folder


@pytest.mark.parametrize(("name", "model_name"), itertools.product(PLANNERS, WORLD_MODELS))
def test_any_planner_on_any_world_model_travels_in_a_bundle(name: str, model_name: str, tmp_path: Path):
    solver, folder = bundle_of(name, model_name, tmp_path / "bundle", penalty_cap=50.0)
    assert missing(solver, PlanningPolicy) == []
    assert isinstance(solver.action_density(), str)
    agent = load_agent(folder)
    assert agent.stateful == (model_name == "rssm")
    obs = RAW["obs"][:5].numpy()
    agent.reset(5)
    first = agent.act(obs)
    model = solver.objective.imagination.model
    state = model.observe(model.initial(5), torch.zeros(5, 2), {"state": RAW["obs"][:5]}, torch.ones(5))
    by_hand = np.array(LOW) + (solver.act(state, None).double().numpy() + 1) / 2 * (np.array(HIGH) - np.array(LOW))
    np.testing.assert_allclose(first, by_hand, rtol=1e-4, atol=1e-4)
    assert (first >= LOW).all()
    assert (first <= HIGH).all()
    second = agent.act(obs)
    assert not np.array_equal(second, first)  # its plan went on
    agent.reset(5)
    assert np.array_equal(agent.act(obs), first)
    assert np.array_equal(agent.act(obs), second)
    agent.reset(1)
    np.testing.assert_allclose(agent.act(obs[:1]), first[:1], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_student_values_last_states_and_proposes_a_plan(name: str, tmp_path: Path):
    options = SACConfig(hidden=[8], updates=3, batch_size=8)
    solver, folder = bundle_of(name, "gaussian_ensemble", tmp_path / "bundle", terminal_value=options)
    student, state = solver.student, torch.randn(2, 3, generator=draws())
    proposed = solver._proposal(state)
    assert proposed.shape == (2, 1, 4, 2)
    torch.testing.assert_close(proposed[:, 0, 0], student.act(state, None))
    rollout = solver.objective.rollout(state, proposed[:, 0], draws())
    last = student.critics(rollout.state[:, -1], student.act(rollout.state[:, -1], None)).amin(0)
    worth = plan_value(rollout, 0.5, 0.99, 0.0, last)
    torch.testing.assert_close(solver.objective(state, proposed, draws())[:, 0], worth)
    again = load_agent(folder).policy
    torch.testing.assert_close(again.act(state, None), solver.act(state, None))


def test_imagined_returns_are_those_of_planning_at_every_step():
    model = world_model("gaussian_ensemble")
    solver = planner("mppi", model, Penalty("ensemble_std"), 0.5, **SMALL)
    starts = torch.randn(3, 3, generator=draws())
    imagination = Imagination(model, Penalty("ensemble_std"))
    found = imagined_returns(imagination, solver, starts, 2, draws(5))
    actor, by_hand = solver.receding(), draws(5)
    rollout = imagination.rollout(actor, starts, 2, by_hand)
    assert torch.equal(found, (rollout.reward * rollout.alive).sum(1))
    assert not math.isclose(found[0].item(), found[1].item())


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "standard"},  # no world model to plan with
        {"penalty": {}},
        {"penalty": {"name": "os.system", "weight": 1.0}},
        {"penalty": {"name": "ensemble_std", "weight": -1.0}},
        {"config": {"horizon": 10**9}},
        {"config": {"terminal_value": {"hidden": [8]}}},  # whose weights are not there
    ],
)
def test_bundles_that_cannot_plan_are_refused(changes: dict[str, Any], tmp_path: Path):
    _, folder = bundle_of("cem", "gaussian_ensemble", tmp_path / "bundle")
    rewrite(folder / "bundle.json", **changes)
    with pytest.raises(ValueError, match="refused"):
        load_agent(folder)


def test_elites_that_do_not_exist_are_refused(tmp_path: Path):
    model = world_model("gaussian_ensemble")
    model.elites[0] = 99
    facts = build_data_spec(RAW)
    described = BundleSpec(
        policy="cem", config=SMALL, obs_shapes=facts.obs_shapes, statistics=facts.statistics,
        action_low=LOW, action_high=HIGH, env_id=None, env_kwargs={}, dataset={"transitions": 300}, seed=0,
        privileged_knowledge=[], penalty={"name": "ensemble_std", "weight": 0.5}, encoder="gaussian_ensemble",
        encoder_config=vars(model.config),
    )  # fmt: skip
    save_bundle(tmp_path, planner("cem", Linear()), model, described, {"rows": []}, "# card\n")
    with pytest.raises(ValueError, match="refused"):
        load_agent(tmp_path)


@pytest.mark.parametrize("model_name", WORLD_MODELS)
def test_served_planner_acts_as_its_agent(model_name: str, tmp_path: Path):
    from pipeline.serving.mlflow_model import ServedPolicy

    _, folder = bundle_of("icem", model_name, tmp_path / "bundle")
    served, agent, obs = ServedPolicy(), load_agent(folder), RAW["obs"][:3].numpy()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(folder)}))
    agent.reset(3)
    done = agent.act(obs)
    if not agent.stateful:  # each call plans from nothing
        assert np.array_equal(served.predict(None, obs), done)
        return
    seen = np.stack([obs, RAW["next_obs"][:3].numpy()], axis=1)
    then = agent.act(seen[:, 1])
    np.testing.assert_allclose(served.predict(None, {"state": seen, "action": done[:, None]}), then, rtol=1e-4)


def test_the_report_shows_plans_from_held_out_states():
    solver = planner("cem", Linear(), **SMALL)
    states = torch.randn(9, 2, generator=draws())
    zeros = torch.zeros(9)
    held_out = Transitions.from_log(states, zeros[:, None], zeros, states, zeros)
    plans = example_plans(solver, held_out, seed=0)
    assert {k: np.array(v).shape for k, v in vars(plans).items()} == {
        "action": (4, 4, 1),
        "reward": (4, 4),
        "penalty": (4, 4),
        "alive": (4, 4),
    }
    rewards = solver.predicted_rollout(states).reward
    assert all((rewards - torch.tensor(row)).abs().amax(1).min() < 1e-5 for row in plans.reward)
    assert json.loads(json.dumps(asdict(plans))) == asdict(plans)
