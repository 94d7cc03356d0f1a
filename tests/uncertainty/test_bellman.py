"""Bellman inconsistency with values written by hand, and how learners use it."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from pipeline.imagination import Imagination
from pipeline.policies.actor_critic import ActorCritic, ActorCriticConfig
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.types import Prediction, Step, Transitions, no_rows
from pipeline.uncertainty import Bellman, Penalty

SHIFTS = torch.tensor([0.0, 1.0, 5.0, 2.0])  # where each member believes the state moves to
NOISE = 0.5


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


class Line:
    """Member m moves the state, of one dimension, by SHIFTS[m] and the action; the third is no elite."""

    state_dim, action_dim, reward_scale = 1, 1, 2.0
    elites = torch.tensor([0, 1, 3])

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        mean = (state + action)[None] + SHIFTS[:, None, None]
        return Prediction(mean, torch.full_like(mean, NOISE), state[:, :0])

    def sample_members(self, generator: Generator) -> "Line":
        return self

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        return self.elites[torch.randint(3, (batch,), generator=generator)]

    def draw(self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator, member=None) -> Step:
        member = self.draw_members(len(state), generator) if member is None else member
        rows = torch.arange(len(state))
        noise = torch.randn(state.shape, generator=generator)
        after = prediction.mean[member, rows] + prediction.std[member, rows] * noise
        return Step(after, state[:, 0], torch.ones(len(state)), member, after)


def steps(logged: list[float]) -> Transitions:
    rows = len(logged)
    zero = torch.zeros(rows)
    state, action = torch.arange(float(rows))[:, None], torch.full((rows, 1), 0.25)
    return Transitions(state, action, zero, state, zero, zero, torch.tensor(logged), zero, no_rows(zero), action)


def penalty_under_value(value, samples: int, batch: Transitions) -> Tensor:
    model = Line()
    prediction = model.predict(batch.state, batch.action)
    return Bellman(samples).penalty_under_value(model, batch.state, batch.action, prediction, value, draws())


def test_spread_of_a_linear_value_is_that_of_the_elites_means():
    # Values 10 x of elites at x, x + 1 and x + 2: their standard deviation is 10 sqrt(2 / 3), whatever x is. The mean
    # of 20,000 draws is off by some 10 x 0.5 / sqrt(20,000) = 0.035.
    found = penalty_under_value(lambda state: 10 * state[:, 0], 20_000, steps([0.0, 0.0]))
    torch.testing.assert_close(found, torch.full((2,), 10 * (2 / 3) ** 0.5), atol=0.15, rtol=0)


def test_value_is_averaged_over_draws_and_not_taken_at_the_mean():
    # Of x squared, draws around 0.25, 1.25 and 2.25 have means 0.0625, 1.5625 and 5.0625, each plus the noise's 0.25.
    found = penalty_under_value(lambda state: state[:, 0].square(), 20_000, steps([0.0]))
    expected = torch.tensor([0.0625, 1.5625, 5.0625]).std(correction=0)
    torch.testing.assert_close(found, expected[None], atol=0.05, rtol=0)


def test_agreeing_elites_have_no_penalty_and_a_finite_gradient():
    state = torch.ones(3, 1, requires_grad=True)
    batch = replace(steps([0.0] * 3), state=state)
    found = penalty_under_value(lambda after: 7.0 + 0 * after[:, 0], 4, batch)
    assert found.tolist() == [0.0, 0.0, 0.0]
    found.sum().backward()
    assert torch.isfinite(state.grad).all()


def test_logged_steps_have_none_and_imagined_ones_are_replaced():
    batch = replace(steps([1.0, 0.0, 1.0, 0.0]), penalty=torch.tensor([0.0, 9.0, 0.0, 9.0]))
    revalued = Imagination(Line(), Bellman(1000)).recompute_penalties(batch, lambda state: 10 * state[:, 0], draws())
    assert revalued.penalty[[0, 2]].tolist() == [0.0, 0.0]
    assert revalued.penalty[[1, 3]].tolist() == pytest.approx([10 * (2 / 3) ** 0.5] * 2, abs=0.6)
    assert batch.penalty.tolist() == [0.0, 9.0, 0.0, 9.0]  # what is stored stays as it was


def sac(weight: float) -> SAC:
    torch.manual_seed(0)
    return SAC(SACConfig(hidden=[8], discount=0.5), LearnerSpec(1, 1, reward_std=2.0, penalty_weight=weight))


def test_sac_asks_its_target_critics_at_its_own_actions():
    learner, batch = sac(1.0), steps([1.0, 0.0])
    learned = learner.update(batch, Imagination(Line(), Bellman(3)), draws())
    fresh, after = sac(1.0), draws()

    def value(state: Tensor) -> Tensor:
        return fresh.target_critics(state, fresh.actor.sample(state, after)[0]).amin(0)

    imagined = batch[torch.tensor([1])]
    prediction = Line().predict(imagined.state, imagined.action)
    with torch.no_grad():
        expected = Bellman(3).penalty_under_value(Line(), imagined.state, imagined.action, prediction, value, after)
    torch.testing.assert_close(learned["imagined_penalty"], expected[0])


def test_critics_learn_from_penalties_known_at_the_update():
    seen = {}
    for name, penalty in (("bellman", Bellman(3)), ("ensemble_std", Penalty("ensemble_std"))):
        learner = sac(1.0)
        learner._update_critics = lambda batch, generator, name=name: seen.update({name: batch}) or {}
        learner.update(steps([1.0, 0.0]), Imagination(Line(), penalty), draws())
    assert seen["bellman"].penalty[0] == 0
    assert seen["bellman"].penalty[1] > 0
    assert seen["ensemble_std"].penalty.tolist() == [0.0, 0.0]  # as it was imagined


def test_actor_critic_asks_its_slow_critic():
    torch.manual_seed(0)
    config = ActorCriticConfig(hidden=[8], horizon=2, value_head="unit_gaussian")
    learner = ActorCritic(config, LearnerSpec(1, 1, reward_std=2.0, penalty_weight=1.0))
    learner.slow_critic = torch.nn.Linear(1, 1).requires_grad_(False)
    learner.slow_critic.weight.fill_(3.0)
    rollout, _ = learner._imagine(torch.zeros(2, 1), Imagination(Line(), Bellman(5000)), draws())
    # the critic is in standard deviations of the reward, which are 2
    torch.testing.assert_close(rollout.penalty, torch.full((2, 2), 6 * (2 / 3) ** 0.5), atol=0.2, rtol=0)
    replayed = Imagination(Line(), Bellman()).rollout(lambda s, t, g: 0 * s, torch.zeros(2, 1), 2, draws())
    assert replayed.penalty.abs().sum() == 0  # no value was given
