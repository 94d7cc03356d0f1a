"""Learners that choose one of several actions, against enumeration and problems with known answers."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from pipeline.imagination import Imagination
from pipeline.networks.actor import CategoricalActor
from pipeline.networks.critic import Critics
from pipeline.ope.density import fit_behavior
from pipeline.policies.actor_critic import GRADIENTS, ActorCritic, ActorCriticConfig
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.training.learn_policy import check_actions
from pipeline.types import Prediction, Step, Transitions

BEST = torch.eye(3)[[2, 0, 1]]  # the best action in each of three contexts


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sac(**settings: object) -> SAC:
    torch.manual_seed(0)
    config = SACConfig(hidden=[16], actor_learning_rate=1e-2, critic_learning_rate=1e-2, actor_decay=False, **settings)
    return SAC(config, LearnerSpec(3, 3, -1.0, 2.0, reward_std=0.5, action_kind="discrete"))


def bandit(rows: int, seed: int = 1) -> Transitions:
    """One step in one of three contexts: an arm pays 1 where it is best, else 0; arms are tried at random."""
    context, arm = torch.randint(3, (2, rows), generator=draws(seed))
    state, action, zero = torch.eye(3)[context], torch.eye(3)[arm], torch.zeros(rows)
    reward = (BEST[context] * action).sum(1)
    return Transitions.from_log(state, action, reward, torch.zeros(rows, 3), zero + 1)


def learn(learner: SAC | BehaviorCloning, data: Transitions, updates: int) -> None:
    generator = draws()
    for _ in range(updates):
        learner.update(data[torch.randint(len(data), (128,), generator=generator)], None, generator)


def by_hand(learner: SAC, state: torch.Tensor, critics: Critics) -> tuple[torch.Tensor, torch.Tensor]:
    """Expected least value and expected log-probability "B", one action after the other."""
    logits = learner.actor.net(state)
    value, log_prob = torch.zeros(len(state)), torch.zeros(len(state))
    for a in range(3):
        p = torch.exp(logits[:, a]) / torch.exp(logits).sum(1)
        value = value + p * critics(state, torch.eye(3)[a].expand(len(state), -1)).min(0).values
        log_prob = log_prob + p * torch.log(p)
    return value, log_prob


def test_expectations_are_those_of_enumeration():
    learner, state = sac(entropy_backup=True, alpha=0.3), torch.randn(7, 3, generator=draws())
    value, log_prob = by_hand(learner, state, learner.target_critics)
    found = learner.value(state, draws())
    torch.testing.assert_close(found, value - 0.3 * log_prob)
    assert torch.equal(found, learner.value(state, draws(1)))  # nothing is drawn
    torch.testing.assert_close(learner.actor.entropy(state, None), -log_prob)


def test_the_actor_climbs_the_expected_soft_value():
    learner, data = sac(alpha=0.2), bandit(64)
    value, log_prob = by_hand(learner, data.state, learner.critics)
    expected = torch.autograd.grad((0.2 * log_prob - value).mean(), list(learner.actor.parameters()))
    metrics = learner._update_actor(data, draws())
    torch.testing.assert_close([p.grad for p in learner.actor.parameters()], list(expected))
    assert metrics["entropy"].item() == pytest.approx(-log_prob.mean().item(), rel=1e-5)


def test_critics_answer_about_every_action_at_once():
    torch.manual_seed(0)
    critics, state, actions = Critics(2, 3, 4, [8], layer_norm=True), torch.randn(5, 3), torch.eye(4)
    every = critics(state, actions[:, None].expand(-1, 5, -1))
    assert every.shape == (2, 4, 5)
    for a in range(4):
        torch.testing.assert_close(every[:, a], critics(state, actions[a].expand(5, -1)))


def test_samples_are_one_hot_and_as_frequent_as_their_probabilities():
    torch.manual_seed(0)
    actor, state = CategoricalActor(2, 3, [4]), torch.randn(1, 2).expand(20_000, -1)
    action, log_prob = actor.sample(state, draws())
    assert set(action.unique().tolist()) == {0.0, 1.0}
    assert action.sum(1).eq(1).all()
    probs = F.softmax(actor.net(state[:1]), dim=1)[0]
    torch.testing.assert_close(action.mean(0), probs, atol=0.02, rtol=0)
    torch.testing.assert_close(log_prob, (action @ probs).log())
    torch.testing.assert_close(actor.log_prob(state, action), log_prob)
    assert torch.equal(actor.mode(state[:1])[0], torch.eye(3)[probs.argmax()])
    # straight through: the gradient of a sample is that of the probabilities
    weight = torch.tensor([1.0, -2.0, 3.0])
    found = torch.autograd.grad((actor.sample(state[:1], draws())[0] @ weight).sum(), actor.net[-1].bias)[0]
    torch.testing.assert_close(found, torch.autograd.grad(F.softmax(actor.net(state[:1]), 1)[0] @ weight,
                                                          actor.net[-1].bias)[0])  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"conservatism": 0.5}, {"bc_weight": 0.1}, {"entropy_backup": True}])
def test_sac_solves_a_contextual_bandit(settings: dict[str, object]):
    learner = sac(alpha_learning_rate=1e-2, **settings)
    learn(learner, bandit(3000), 250)
    assert torch.equal(learner.act(torch.eye(3), None), BEST)
    if not settings:
        value = learner.critics(torch.eye(3), BEST).mean().item()
        assert value == pytest.approx(1.0, abs=0.1)
        assert learner.actor.entropy(torch.eye(3), None).mean().item() == pytest.approx(0.3 * math.log(3), abs=0.15)


def test_a_heavy_behavior_term_copies_the_logs():
    data = bandit(3000)
    copied = replace(data, action=torch.eye(3)[data.state.argmax(1)])  # each context's own arm, which is never the best
    learner = sac(bc_weight=30.0)
    learn(learner, copied, 200)
    assert torch.equal(learner.act(torch.eye(3), None), torch.eye(3))


def uneven(rows: int) -> Transitions:
    """Arms 0, 1, 2 with probabilities 0.6, 0.3 and 0.1 in the first context, mirrored in the second."""
    share = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    context = torch.arange(rows) % 2
    arm = torch.multinomial(share[context], 1, generator=draws()).squeeze(1)
    data = bandit(rows)
    return replace(data, state=torch.eye(3)[context], action=torch.eye(3)[arm])


def test_cloning_learns_the_logged_probabilities():
    torch.manual_seed(0)
    data = uneven(4000)
    learner = BehaviorCloning(BCConfig(hidden=[16], learning_rate=1e-2), LearnerSpec(3, 3, action_kind="discrete"))
    learn(learner, data, 300)
    found = learner.actor(torch.eye(3)[:2]).exp()
    for context in (0, 1):
        expected = data.action[data.state[:, context] == 1].mean(0)
        torch.testing.assert_close(found[context], expected, atol=0.06, rtol=0)
    assert torch.equal(learner.act(torch.eye(3)[:2], None), torch.eye(3)[[0, 2]])


def test_densities_of_discrete_policies_are_probabilities():
    data = uneven(4000)
    actor = fit_behavior(data, 500, draws(), "discrete")
    logged = actor.log_prob(torch.eye(3)[:1], actor.unsquash(torch.eye(3))).exp()
    torch.testing.assert_close(logged, torch.tensor([0.6, 0.3, 0.1]), atol=0.06, rtol=0)
    for policy in (sac(), BehaviorCloning(BCConfig(hidden=[4]), LearnerSpec(3, 3, action_kind="discrete"))):
        assert policy.action_density() is policy.actor


class Walk:
    """Three actions move a point on a line by -1, 0 or 1; the reward is -|where it arrives|."""

    state_dim, action_dim, reward_scale = 1, 3, 1.0
    moves = torch.tensor([[-1.0], [0.0], [1.0]])

    def sample_members(self, generator):
        return self

    def predict(self, state, action):
        mean = state + action @ self.moves
        return Prediction(mean[None], torch.ones_like(mean)[None], mean[:, :0])

    def draw(self, state, action, prediction, generator, member=None):
        arrived = prediction.mean[0]
        reward = -arrived.abs().squeeze(1)
        return Step(arrived, reward, torch.ones_like(reward), torch.zeros_like(reward), arrived)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_actor_critic_walks_home(gradient: str):
    torch.manual_seed(0)
    config = ActorCriticConfig(
        hidden=[32], horizon=3, gradient=gradient, actor_learning_rate=1e-2, critic_learning_rate=1e-2, discount=0.8,
        entropy_weight=1e-3, actor_decay=False,
    )  # fmt: skip
    learner = ActorCritic(config, LearnerSpec(1, 3, action_kind="discrete"))
    start, zero = 2 * torch.randn(256, 1, generator=draws(5)), torch.zeros(256)
    batch = Transitions.from_log(start, torch.zeros(256, 3), zero, start, zero)
    imagination, generator = Imagination(Walk()), draws()
    for _ in range(250):
        learner.update(batch, imagination, generator)
    away = torch.tensor([[-2.0], [-1.2], [1.2], [2.0]])
    assert learner.act(away, None).argmax(1).tolist() == [2, 2, 0, 0]
    if gradient == "reinforce":  # at home the reward has a kink, of which a slope says nothing
        assert learner.act(torch.zeros(1, 1), None).argmax(1).tolist() == [1]


def test_planners_refuse_discrete_actions_before_any_work():
    from pipeline.policies.planning import PLANNERS

    for planner in PLANNERS.values():
        with pytest.raises(ValueError, match="these are discrete: choose `sac`"):
            check_actions(planner, SimpleNamespace(action_kind="discrete"))  # type: ignore[arg-type]
        check_actions(planner, SimpleNamespace(action_kind="continuous"))  # type: ignore[arg-type]
    check_actions(SAC, SimpleNamespace(action_kind="discrete"))  # type: ignore[arg-type]
