"""Dreamer's learner on worlds whose returns, gradients and best actions are known in closed form."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import build_data_spec, linear_world, small_ensemble, transitions_of

from pipeline.imagination import Imagination
from pipeline.networks.actor import TanhGaussianActor
from pipeline.networks.schedule import cosine_decay
from pipeline.policies.actor_critic import GRADIENTS, ActorCritic, ActorCriticConfig
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import lambda_return, survival_probability
from pipeline.serving.bundle import BundleSpec, save_bundle
from pipeline.serving.load_bundle import load_bundle
from pipeline.types import Prediction, Rollout, Step, Transitions
from pipeline.uncertainty import Penalty


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Line:
    """s' = keep s + push a + noise e on a line; a reward of state and action; it goes on with a fixed probability."""

    state_dim = action_dim = 1

    def __init__(self, reward, keep=0.8, push=0.5, noise=0.0, go_on=1.0, reward_scale=1.0):
        self.reward, self.keep, self.push, self.noise, self.go_on = reward, keep, push, noise, go_on
        self.reward_scale = reward_scale

    def sample_members(self, generator):
        return self

    def predict(self, state, action):
        mean = self.keep * state + self.push * action
        return Prediction(mean[None], torch.ones_like(mean)[None], mean[:, :0])

    def draw(self, state, action, prediction, generator, member=None):
        next_state = prediction.mean[0]
        if generator is not None:
            next_state = next_state + self.noise * torch.randn(next_state.shape, generator=generator)
        reward = self.reward(state, action).squeeze(1)
        return Step(next_state, reward, torch.full_like(reward, self.go_on), torch.zeros_like(reward), next_state)


def imagination(model: Line, penalty: float = 0.0) -> Imagination:
    return Imagination(model, lambda model, state, action, prediction, sample: torch.full_like(sample[:, 0], penalty))


def starts(rows: int, spread: float) -> Transitions:
    state, zero = spread * torch.randn(rows, 1, generator=draws(5)), torch.zeros(rows)
    return Transitions.from_log(state, state, zero, state, zero)


def learner(penalty_weight: float = 0.0, reward_scale: float = 1.0, **settings: object) -> ActorCritic:
    torch.manual_seed(0)
    defaults = {"hidden": [32], "actor_decay": False, "actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    config = ActorCriticConfig(**{**defaults, **settings})
    return ActorCritic(config, LearnerSpec(1, 1, reward_std=reward_scale, penalty_weight=penalty_weight))


def trained(chosen: ActorCritic, model: Line, updates: int) -> dict[str, Tensor]:
    data, generator = starts(1000, spread=0.5), draws()
    for _ in range(updates):
        rows = torch.randint(len(data), (chosen.config.batch_size,), generator=generator)
        metrics = chosen.update(data[rows], imagination(model), generator)
    return metrics


# --- returns ---


def test_lambda_return_by_hand():
    reward, value = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0]])
    discount = 0.5 * torch.tensor([[1.0, 0.8, 1.0]])  # step 1 goes on with probability 0.8
    half = torch.full((1, 3), 0.5)
    # 3 + 0.5 x 30 = 18; 2 + 0.4 (0.5 x 20 + 0.5 x 18) = 9.6; 1 + 0.5 (0.5 x 10 + 0.5 x 9.6) = 5.9
    torch.testing.assert_close(lambda_return(reward, discount, value, half), torch.tensor([[5.9, 9.6, 18.0]]))
    one_step = torch.tensor([[6.0, 10.0, 18.0]])
    torch.testing.assert_close(lambda_return(reward, discount, value, 0 * half), one_step)
    # 3 + 15 = 18; 2 + 0.4 x 18 = 9.2; 1 + 0.5 x 9.2 = 5.6
    torch.testing.assert_close(lambda_return(reward, discount, value, 2 * half), torch.tensor([[5.6, 9.2, 18.0]]))


def test_lambda_return_of_one_step_bootstraps_whatever_the_trace():
    for trace in (0.0, 0.3, 1.0):
        returns = lambda_return(*(torch.tensor([[x]]) for x in (1.0, 0.5 * 0.9, 10.0, trace)))
        torch.testing.assert_close(returns, torch.tensor([[1 + 0.45 * 10]]))


def test_reach_probability_and_decay_by_hand():
    reached = survival_probability(torch.tensor([[0.5, 0.8, 0.1]]))
    torch.testing.assert_close(reached, torch.tensor([[1.0, 0.5, 0.4]]))
    assert [cosine_decay(2.0, done, 4) for done in (0, 2, 4, 9)] == pytest.approx([2.0, 1.0, 0.0, 0.0])


def ended_at_once(go_on: Tensor) -> Rollout:
    """Three steps of which the first already ends, with probability ``go_on`` of going on, before a great reward."""
    zero, reward = torch.zeros(1, 3), torch.tensor([[1.0, 100.0, 100.0]])
    end = torch.tensor([[1.0, 0.0, 0.0]])
    continue_prob = torch.cat([go_on[:, None], torch.ones(1, 2)], dim=1)
    return Rollout(zero[..., None], torch.zeros(1, 4, 1), reward, zero, continue_prob, end, zero, end)


def test_nothing_is_earned_after_a_predicted_terminal_and_the_gradient_stays():
    chosen = learner(value_head="unit_gaussian", discount=0.5)
    chosen.slow_critic[-1].bias.data.fill_(2.0)  # every state is worth 2
    go_on = torch.tensor([0.25], requires_grad=True)
    returns = chosen._returns(ended_at_once(go_on))
    assert returns[0, 0].item() == pytest.approx(1 + 0.5 * 0.25 * 2)
    returns[0, 0].backward()
    assert go_on.grad.item() == pytest.approx(0.5 * 2)  # dying is worth nothing, going on is worth 2


@pytest.mark.parametrize("go_on", [1.0, 0.7, 0.3, 0.0])
def test_death_does_not_pay(go_on: float):
    # Reward 0 and penalty 1 for ever: however likely the end, the return is that of going on, -1 / (1 - 0.9).
    chosen = learner(value_head="unit_gaussian", discount=0.9, penalty_weight=1.0, horizon=4)
    chosen.slow_critic[-1].bias.data.fill_(-10.0)
    model = Line(lambda s, a: 0 * s, go_on=go_on)
    rollout, _ = chosen._imagine(torch.zeros(2, 1), imagination(model, penalty=1.0), draws())
    torch.testing.assert_close(chosen._returns(rollout), torch.full((2, 4), -10.0))


@pytest.mark.parametrize("head", ["two_hot", "unit_gaussian"])
@pytest.mark.parametrize("go_on", [1.0, 0.6, 0.4, 0.0])
def test_critic_finds_the_value_of_an_episode_that_may_end(head: str, go_on: float):
    settings = {"discount": 0.8, "horizon": 3, "batch_size": 8, "target_rate": 0.1, "critic_learning_rate": 0.01}
    chosen = learner(value_head=head, reward_scale=2.0, **settings)
    metrics = trained(chosen, Line(lambda s, a: 0 * s + 6.0, go_on=go_on), 300)
    assert metrics["q_mean"].item() == pytest.approx(6 / (1 - 0.8 * go_on), rel=0.05)  # in the reward's own unit


# --- gradients ---


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_gradient_through_imagination_is_that_of_the_closed_form(noise: float):
    """Under a = k s the state shrinks by m = keep + push k at each step, so E[s_t^2] = m^(2t) s_0^2 + noise^2 times the
    sum of m^(2j) over j < t, and the reward -s^2 - a^2 is -(1 + k^2) times it."""
    horizon, discount, rows = 6, 0.9, 200_000 if noise else 5
    model = Line(lambda s, a: -s.square() - a.square(), noise=noise)
    start = torch.full((rows, 1), 1.5, dtype=torch.float32 if noise else torch.float64)

    def closed_form(k: Tensor) -> Tensor:
        m = model.keep + model.push * k
        second = [m ** (2 * t) * 1.5**2 + sum(noise**2 * m ** (2 * j) for j in range(t)) for t in range(horizon)]
        return -(1 + k**2) * sum(discount**t * s for t, s in enumerate(second))

    gradients = []
    for imagined in (True, False):
        k = torch.tensor(-0.7, requires_grad=True, dtype=start.dtype)
        if imagined:
            actor = lambda state, t, generator, k=k: k * state  # noqa: E731
            rollout = imagination(model).rollout(actor, start, horizon, draws() if noise else None)
            nothing = torch.zeros_like(rollout.reward)
            value = lambda_return(rollout.reward, nothing + discount, nothing, nothing + 1)[:, 0].mean()
        else:
            value = closed_form(k)
        value.backward()
        gradients.append(k.grad.item())
    assert gradients[0] == pytest.approx(gradients[1], rel=2e-2 if noise else 1e-10)


def test_both_gradients_agree_in_expectation():
    """Over one step, where both climb reward plus discounted value of the next state; the value is a random network."""
    model = Line(lambda s, a: -(a - 0.5).square(), noise=0.1)
    found = {}
    for gradient in GRADIENTS:
        chosen = learner(
            gradient=gradient, horizon=1, hidden=[8], value_head="unit_gaussian", gradient_clip=1e9,
            entropy_weight=0.0,
        )  # fmt: skip
        torch.manual_seed(1)
        torch.nn.init.normal_(chosen.slow_critic[-1].weight)
        chosen.update(starts(200_000, spread=0.3), imagination(model), draws())
        found[gradient] = torch.cat([p.grad.flatten() for p in chosen.actor.parameters()])
    dynamics, reinforce = found["dynamics"], found["reinforce"]
    assert (dynamics - reinforce).norm() < 0.04 * dynamics.norm()


def test_score_of_an_action_is_that_of_its_density():
    torch.manual_seed(0)
    actor, state = TanhGaussianActor(3, 2, [8]), torch.randn(4, 5, 3)
    raw, log_prob = actor.sample_raw(state, draws())
    torch.testing.assert_close(actor.log_prob(state, raw), log_prob)
    action, same = actor.sample(state, draws())
    assert torch.equal(action, torch.tanh(raw))
    assert torch.equal(same, log_prob)
    gradient = torch.autograd.grad(actor.log_prob(state, raw.detach()).sum(), list(actor.parameters()))
    mean, log_std = actor(state)
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw.detach()).sum()
    for ours, theirs in zip(gradient, torch.autograd.grad(normal, list(actor.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# --- learning ---


# The reward looks at the state alone and the next state is the action: only what comes later prefers 0.5.
LAST = Line(lambda s, a: -10 * (s - 0.5).square(), keep=0.0, push=1.0, noise=0.05)
QUICK = {"discount": 0.7, "target_rate": 0.1, "batch_size": 256, "updates": 400, "actor_decay": True,
         "actor_learning_rate": 0.01, "critic_learning_rate": 0.01}  # fmt: skip


@pytest.mark.parametrize(("horizon", "head"), [(1, "two_hot"), (1, "unit_gaussian"), (4, "two_hot")])
def test_actor_finds_the_best_action(horizon: int, head: str):
    chosen = learner(horizon=horizon, value_head=head, **QUICK)  # over one step, only the critic can tell
    trained(chosen, LAST, 400)
    actions = chosen.act(torch.tensor([[-1.0], [0.0], [1.0]]), None)
    assert actions.flatten().tolist() == pytest.approx([0.5] * 3, abs=0.1)


def test_actor_finds_the_best_action_without_a_gradient_through_the_model():
    chosen = learner(gradient="reinforce", horizon=4, **QUICK)
    trained(chosen, LAST, 400)
    assert chosen.act(torch.tensor([[0.5]]), None).item() == pytest.approx(0.5, abs=0.1)


def test_penalty_weight_moves_the_policy_away_from_what_is_penalized():
    # reward - 1 x penalty = -(a - 0.5)^2 - 0.5 (a + 1) is best at a = 0.25
    chosen = learner(penalty_weight=1.0, horizon=2, **(QUICK | {"discount": 0.1, "updates": 200}))
    model = Line(lambda s, a: -(a - 0.5).square(), keep=0.0, push=1.0)
    dream = Imagination(model, lambda model, state, action, prediction, sample: 0.5 * (prediction.mean[0, :, 0] + 1))
    generator = draws()
    for _ in range(200):
        chosen.update(starts(64, spread=1.0), dream, generator)
    assert chosen.act(torch.zeros(1, 1), None).item() == pytest.approx(0.25, abs=0.05)


def test_spread_is_a_moving_average_of_quantiles_and_never_below_one():
    chosen = learner(spread_rate=0.5)
    returns = torch.linspace(0, 100, 101)[None]
    assert chosen._return_spread(returns, torch.ones(1, 101)).item() == pytest.approx(0.5 * 90)
    assert chosen._return_spread(returns, torch.ones(1, 101)).item() == pytest.approx(0.75 * 90)
    taken = (returns <= 1).float()
    assert learner(spread_rate=1.0)._return_spread(returns, taken).item() == 1.0


def test_an_update_is_repeatable_and_leaves_the_model_alone():
    raw = linear_world(200)
    weights = []
    for gradient in (*GRADIENTS, "dynamics"):
        model = small_ensemble(raw)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        torch.manual_seed(0)
        chosen = ActorCritic(
            ActorCriticConfig(hidden=[8], batch_size=16, gradient=gradient), LearnerSpec(3, 2, penalty_weight=0.5)
        )
        data = transitions_of(raw, model.encoder)
        for seed in range(3):
            metrics = chosen.update(data[:16], Imagination(model, Penalty("ensemble_std")), draws(seed))
        assert not any(value.requires_grad for value in metrics.values())
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        weights.append(torch.cat([p.detach().flatten() for p in chosen.parameters()]))
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_bundle_acts_as_the_learner(tmp_path: Path):
    raw = linear_world(200)
    facts, model = build_data_spec(raw), small_ensemble(raw)
    chosen = ActorCritic(ActorCriticConfig(hidden=[8], batch_size=16, horizon=2), LearnerSpec(3, 2))
    data = transitions_of(raw, model.encoder)
    chosen.update(data[:16], Imagination(model, Penalty("ensemble_std")), draws())
    described = BundleSpec(
        policy="actor_critic", config=dataclasses.asdict(chosen.config), obs_shapes=facts.obs_shapes,
        statistics=facts.statistics, action_low=[-1.0] * 2, action_high=[1.0] * 2, env_id=None,
        env_kwargs={}, dataset={"name": "toy"}, seed=0, privileged_knowledge=[],
    )  # fmt: skip
    save_bundle(tmp_path, chosen, model.encoder, described, {"rows": []}, "# card\n")
    loaded, _, _ = load_bundle(tmp_path)
    assert torch.equal(loaded.act(data.state, None), chosen.act(data.state, None))
    assert torch.equal(loaded.return_quantiles, chosen.return_quantiles)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"horizon": 0}, "horizon"),
        ({"td_lambda": 1.5}, "td_lambda"),
        ({"gradient": "bptt"}, "dynamics"),
        ({"value_head": "mse"}, "two_hot"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], named: str):
    with pytest.raises(ValueError, match=named):
        ActorCriticConfig(**settings)
