"""Recorded episodes, and the world model's errors on them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import toys
from dial import DIAL_STEPS
from test_episodes import Agent as Constant
from test_episodes import expected_length
from toys import WithoutInputs, hidden_velocity, linear_world

from pipeline.data.episode import Episode
from pipeline.data.spec import DatasetSpec
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.episodes import run_episodes
from pipeline.evaluation.visited import as_logs, bellman, visited_of
from pipeline.imagination import Imagination
from pipeline.ingest.writer import write_dataset
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.planning.cem import CEM, CEMConfig
from pipeline.policies.sac import SACConfig
from pipeline.types import Prediction, Step, Transitions
from pipeline.uncertainty import Penalty


def test_recorded_episodes_are_what_happened():
    """Observations count steps, the reward of step t is t, actions of 3 are cut to the bound 2."""
    plain = run_episodes(Constant(), "Counting-v0", {}, episodes=6, seed=40, env_batch=4)
    ran = run_episodes(Constant(), "Counting-v0", {}, episodes=6, seed=40, env_batch=4, record=True)
    assert plain.recorded == []
    assert (ran.returns == plain.returns).all()
    assert {e.terminated for e in ran.recorded} == {True, False}
    assert len(ran.recorded) == 6
    for i, episode in enumerate(ran.recorded):
        length = expected_length(40 + i)
        assert episode.obs["obs"][:, 0].tolist() == list(range(length + 1))
        assert episode.reward.tolist() == list(range(1, length + 1))
        assert episode.action.tolist() == [[2.0]] * length
        count, end = episode.obs["obs"][-1]
        assert episode.terminated == (count == end)  # else the time was up


def test_named_observations_keep_their_names():
    class Still(Constant):
        def act(self, obs: Any) -> np.ndarray:
            return np.zeros((1, 1))

    task = {"env_id": "Dial-v0", "size": 32}
    (episode,) = run_episodes(Still(), "pipeline.envs.wrappers:Pixels-v0", task, 1, 0, record=True).recorded
    assert {k: v.shape for k, v in episode.obs.items()} == {"pixels": (DIAL_STEPS + 1, 32, 32, 3)}
    assert episode.obs["pixels"].dtype == np.uint8


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> DatasetSpec:
    return write_dataset(tmp_path_factory.mktemp("d") / "line", hidden_velocity(12), "line", 0.2, 0).spec


def episode(first: float, steps: int, terminated: bool) -> Episode:
    obs = first + np.arange(steps + 1.0)[:, None]
    return Episode({"obs": obs}, np.linspace(-2, 2, steps)[:, None], obs[1:, 0], terminated)


def test_recorded_episodes_read_like_logs(spec: DatasetSpec):
    wide = replace(spec, action_low=[-2.0], action_high=[2.0])
    logs = as_logs([episode(0, 3, True), episode(10, 2, False)], wide)
    steps = logs.transitions("all")
    assert steps["obs"].squeeze(1).tolist() == [0, 1, 2, 10, 11]
    assert steps["next_obs"].squeeze(1).tolist() == [1, 2, 3, 11, 12]
    assert steps["action"].squeeze(1).tolist() == [-1, 0, 1, -1, 1]
    assert steps["reward"].tolist() == [1, 2, 3, 11, 12]
    assert steps["terminal"].tolist() == [0, 0, 1, 0, 0]


class Counter(WithoutInputs):
    """Knows that the count goes up by one, or believes that it goes up by ``step``."""

    state_dim, action_dim, reward_scale, stateful = 2, 1, 3.0, False

    def __init__(self, step: float) -> None:
        self.step, self.elites = step, torch.tensor([0, 1])

    def initial(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 2)

    def observe(self, state: Any, action: Any, obs: Any, first: Any) -> torch.Tensor:
        return obs["state"]

    def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        mean = (state + torch.tensor([self.step, 0.0])).expand(2, *state.shape)
        return Prediction(mean, torch.full_like(mean, 0.5), state[:, :0])

    def draw(self, state: Any, action: Any, prediction: Prediction, generator: Any, member: Any) -> Step:
        nothing = torch.zeros(len(state))
        return Step(state, nothing, nothing, nothing, prediction.mean[0])

    def targets(self, batch: Transitions) -> torch.Tensor:
        return batch.next_state


def test_errors_are_those_of_the_policys_own_steps(spec: DatasetSpec):
    counting = replace(spec, env_id="Counting-v0", obs_shapes={"state": [2]}, action_low=[-2.0], action_high=[2.0])
    config = EvaluationConfig(episodes=4, seed=40)
    penalties = lambda model: {"ensemble_std": Penalty("ensemble_std")}  # noqa: E731
    visited = visited_of([Constant(policy=NoCritic())] * 2, [Counter(1.0), Counter(2.0)], penalties, counting, config)
    assert visited is not None
    right, wrong = visited.by_seed
    assert visited.episodes == 4
    assert right.steps == wrong.steps == sum(expected_length(40 + i) for i in range(4))
    assert right.true_error == pytest.approx(0)
    assert right.coverage == [1, 1, 1, 1]
    assert wrong.true_error == pytest.approx(3 * 0.5**0.5)  # off by 1 in one of two dimensions
    assert wrong.coverage == [0.5, 0.5, 0.5, 0.5]  # two standard deviations off, just outside 95 %
    assert wrong.penalties["ensemble_std"].spearman is None  # it never varies


class Doubling(Counter):
    """Member m believes that the state is multiplied by m + 1, and draws with noise in what penalties see."""

    def draw(self, state: Any, action: Any, prediction: Prediction, generator: Any, member: Any) -> Step:
        nothing, noise = torch.zeros(len(state)), torch.randn(state.shape, generator=generator)
        after = state if member is None else state * (member + 1)[:, None]
        return Step(after, nothing, nothing, nothing, prediction.mean[0] + noise)


class NoCritic:
    def critic_for_states(self) -> None: ...


class Critic:
    def critic_for_states(self) -> "Critic":
        return self

    def value(self, state: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return 10 * state[:, 0] + 0 * torch.rand(len(state), generator=generator)


def test_the_bellman_penalty_of_real_steps_is_the_spread_of_their_value():
    # Members see 10 x and 20 x from x: 5 x to either side of their mean.
    state, zero = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [4.0, 7.0]]), torch.zeros(3)
    steps = Transitions.from_log(state, torch.zeros(3, 1), zero, state, zero)
    assert bellman(Doubling(1.0), steps, Critic(), torch.Generator()).tolist() == pytest.approx([5, 10, 20])


def test_critics_add_the_bellman_penalty_and_change_nothing_else(spec: DatasetSpec):
    counting = replace(spec, env_id="Counting-v0", obs_shapes={"state": [2]}, action_low=[-2.0], action_high=[2.0])
    penalties = lambda model: {"log_prob_std": Penalty("log_prob_std")}  # noqa: E731
    both = []
    for policy in (NoCritic(), Critic()):
        config = EvaluationConfig(episodes=4, seed=40)
        both.append(visited_of([Constant(policy=policy)], [Doubling(2.0)], penalties, counting, config))
    assert [list(visited.left_out) for visited in both] == [["bellman"], []]
    without, with_critics = (visited.by_seed[0] for visited in both)
    assert with_critics.penalties.pop("bellman").kind == "epistemic"
    assert with_critics == without


def test_a_planners_critics_are_those_that_value_last_states():
    model = toys.world_model("gaussian_ensemble", linear_world(100))
    task = LearnerSpec(model.state_dim, model.action_dim)
    for value in (None, SACConfig(hidden=[4])):
        planner = CEM(CEMConfig(terminal_value=value), task, Imagination(model))
        assert planner.critic_for_states() is planner.student
        assert (planner.student is None) == (value is None)


def test_without_an_environment_nothing_is_visited(spec: DatasetSpec):
    assert visited_of([], [], dict, replace(spec, env_id=None), EvaluationConfig()) is None
