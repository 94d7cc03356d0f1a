"""Agents of policies that see several vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data.episode import Episode, LoggedData
from pipeline.data.transitions import build_data_spec
from pipeline.encoders import encoder_for
from pipeline.ingest.writer import write_dataset
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.serving.agent import PolicyAgent, agent_of
from pipeline.serving.input_example import served_example

rng = np.random.default_rng(0)


def episode() -> Episode:
    obs = {"room": rng.normal(size=(6, 2)), "weather": rng.normal(5, 3, size=(6, 1))}
    return Episode(obs, rng.uniform(-1, 1, (5, 1)), np.zeros(5), False)


@pytest.fixture
def agent(tmp_path: Path) -> PolicyAgent:
    torch.manual_seed(0)
    episodes = [episode() for _ in range(6)]
    log = LoggedData("log", "test", episodes, action_names=["valve"], units={"valve": "%"})
    dataset = write_dataset(tmp_path / "d", log, "log", 0.3, 0)
    data = build_data_spec(dataset)
    policy = BehaviorCloning(BCConfig(), LearnerSpec(3, 1))
    agent = agent_of(LearnedPolicy("bc", policy, BCConfig(), encoder_for(data), data, 0), dataset)
    served, action = served_example(agent, dataset)
    assert isinstance(served, np.ndarray)
    assert served.shape == (3, 3)
    assert action.shape == (3, 1)
    return agent


def test_one_array_holds_the_vectors_in_the_order_of_their_names(agent: PolicyAgent):
    room, weather = rng.normal(size=(4, 2)), rng.normal(size=(4, 1))
    agent.reset(4)
    named = agent.act({"weather": weather, "room": room})
    agent.reset(4)
    np.testing.assert_array_equal(agent.act(np.concatenate([room, weather], axis=1)), named)


def test_the_bundle_knows_names_and_units_of_actions(agent: PolicyAgent):
    assert (agent.spec.dataset["action_names"], agent.spec.dataset["units"]) == (["valve"], {"valve": "%"})


def test_an_array_of_another_size_is_refused(agent: PolicyAgent):
    agent.reset(4)
    with pytest.raises(ValueError, match=r"expected \(batch, 3\): room, weather side by side"):
        agent.act(np.zeros((4, 2)))
