"""Learners against problems with known answers."""

import io
import math
from dataclasses import replace

import pytest
import torch
from contract import missing
from toys import bandit, learned, linear_world, small_ensemble, transitions_of

from pipeline.imagination import Imagination, RolloutSpec
from pipeline.networks.actor import TanhGaussianActor
from pipeline.networks.critic import Critics
from pipeline.policies import POLICIES
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import absorbing_value, logged_mean, pessimistic_reward, td_target
from pipeline.policies.protocols import PolicyLearner
from pipeline.policies.sac import SAC, SACConfig
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay, Recent
from pipeline.types import Transitions, no_rows
from pipeline.uncertainty import Penalty

GENERATOR = torch.Generator


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sac(**settings: object) -> SAC:
    torch.manual_seed(0)
    weight = settings.pop("penalty_weight", 0.0)
    config = SACConfig(
        hidden=[32, 32], actor_learning_rate=3e-3, critic_learning_rate=3e-3, alpha=1e-3, actor_decay=False, **settings
    )
    return SAC(config, LearnerSpec(2, 1, penalty_weight=weight))


def test_every_learner_keeps_the_interface():
    for chosen in POLICIES.values():
        assert missing(chosen(chosen.Config(), LearnerSpec(3, 2)), PolicyLearner) == []


def test_td_target_by_hand():
    rewards, ends, values = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([10.0, 10.0])
    assert td_target(rewards, ends, values, torch.tensor([-7.0, -2.0]), 0.5).tolist() == [6.0, 0.0]


def test_death_does_not_pay():
    # a step of reward 0 and penalty 1: going on for ever under that penalty is worth as much as ending there
    penalty = torch.tensor([1.0])
    for weight in (0.0, 1.0, 5.0):
        ending = pessimistic_reward(torch.zeros(1), penalty, weight, 10.0) + 0.9 * absorbing_value(
            penalty, weight, 10.0, 0.9
        )
        assert ending.item() == pytest.approx(-weight / (1 - 0.9))


def test_penalized_by_hand():
    assert pessimistic_reward(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 50.0]), 0.5, 10.0).tolist() == [0.0, -4.0]


def test_log_density_of_the_squashed_gaussian():
    torch.manual_seed(0)
    actor = TanhGaussianActor(3, 2, [16])
    state = torch.randn(5, 3)
    action, log_prob = actor.sample(state, draws())
    mean, log_std = actor(state)
    normal = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform(cache_size=0))
    torch.testing.assert_close(log_prob, squashed.log_prob(action).sum(-1), rtol=1e-3, atol=1e-3)


def test_sac_finds_the_best_action():
    assert learned(sac(), bandit(2000), 600) == pytest.approx(0.5, abs=0.12)


def test_penalty_weight_moves_the_policy_away_from_what_is_penalized():
    # reward - 0.5 * (a + 1) is best at a = 0.25, and nothing else of the data changes
    learner = sac(penalty_weight=0.5, discount=0.01)
    assert learned(learner, bandit(2000, penalty_slope=1.0), 600) == pytest.approx(0.25, abs=0.12)


def test_value_bootstraps_through_time_limits_and_not_through_terminals():
    rows = 256
    zero, one = torch.zeros(rows), torch.ones(rows)
    values = {}
    for name, terminal in (("endless", zero), ("ending", one)):
        action = torch.rand(rows, 1, generator=draws(1)) * 2 - 1
        data = Transitions.from_log(torch.zeros(rows, 2), action, one, torch.zeros(rows, 2), terminal)
        learner = sac(discount=0.8, target_rate=0.05)
        learned(learner, data, 800)
        values[name] = learner.critics(torch.zeros(1, 2), torch.zeros(1, 1)).mean().item()
    assert values["endless"] == pytest.approx(1 / (1 - 0.8), rel=0.1)
    assert values["ending"] == pytest.approx(1.0, rel=0.1)


def test_targets_are_clamped_to_what_rewards_allow():
    learner = SAC(SACConfig(discount=0.9), LearnerSpec(2, 1, -1.0, 2.0, reward_std=0.5, penalty_weight=1.0))
    assert learner.value_range == pytest.approx((-(1.0 + 10 * 0.5) * 10, 20.0))


def test_behavior_error_counts_logged_rows_alone():
    chosen, done = (
        torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]),
        torch.tensor([[1.0, 0.0], [0.0, 0.0], [9.0, 9.0]]),
    )
    scale = torch.tensor([1.0, 0.5])
    actor = TanhGaussianActor(1, 2, [4])
    actor.mode = lambda state: chosen
    imitation = actor.imitation_loss(torch.zeros(3, 1), done, scale).mean(-1)
    assert logged_mean(imitation, torch.tensor([1.0, 1.0, 0.0])).item() == pytest.approx((0.5 + 2.5) / 2)
    assert logged_mean(imitation, torch.zeros(3)).item() == 0


def test_behavior_weight_holds_the_policy_at_logged_actions():
    # rewards are best at 0.5; the logged actions lie around -0.4, whatever the unit and the offset of the reward
    data, state = bandit(2000), torch.randn(2000, 2, generator=draws(2))
    narrow = Transitions(**{**vars(data), "action": -0.4 + 0.3 * data.action, "state": state})
    for scale, offset in ((1.0, 0.0), (1000.0, -500.0)):
        reward = scale * (state[:, 0] - (narrow.action[:, 0] - 0.5).square()) + offset
        logs = Transitions(**{**vars(narrow), "reward": reward})
        settings = {"centered_values": True, "clamp_targets": False, "discount": 0.5}
        torch.manual_seed(0)
        config = SACConfig(hidden=[32, 32], actor_learning_rate=3e-3, critic_learning_rate=3e-3, alpha=1e-3, **settings)
        held, free = (
            learned(
                SAC(replace(config, bc_weight=w), LearnerSpec(2, 1, reward_mean=offset, reward_std=scale)), logs, 400
            )
            for w in (100.0, 0.0)
        )
        assert held == pytest.approx(-0.4, abs=0.15), scale
        assert free > held + 0.2


def test_entropy_is_counted_in_the_spread_of_logged_actions_where_the_actor_is_kept_near_them():
    narrow = LearnerSpec(2, 2, action_std=(0.1, 0.5))
    assert SAC(SACConfig(), narrow).target_entropy == -2
    held = SAC(SACConfig(bc_weight=1.0), narrow).target_entropy
    assert held == pytest.approx(-2 + math.log(0.1) + math.log(0.5))
    assert SAC(SACConfig(bc_weight=1.0, target_entropy=-1.0), narrow).target_entropy == -1


def test_centered_critics_start_at_the_value_of_the_mean_reward():
    critics = Critics(2, 3, 1, [8], layer_norm=False, unit=(100.0, 5.0))
    plain = Critics(2, 3, 1, [8], layer_norm=False)
    plain.load_state_dict(critics.state_dict())
    state, action = torch.randn(4, 3), torch.randn(4, 1)
    torch.testing.assert_close(critics(state, action), 5.0 * plain(state, action) + 100.0)
    learner = SAC(SACConfig(centered_values=True, discount=0.9), LearnerSpec(3, 1, reward_mean=2.0, reward_std=3.0))
    assert (learner.critics.offset, learner.critics.scale) == pytest.approx((20.0, 3.0 / math.sqrt(0.1)))


def test_actor_learning_rate_decays_to_zero():
    learner = SAC(SACConfig(updates=10, hidden=[8], actor_learning_rate=1e-4), LearnerSpec(2, 1))
    data = bandit(32)
    for _ in range(10):
        learner.update(data, None, draws())
    expected = 1e-4 * 0.5 * (1 + math.cos(math.pi * 0.9))
    assert learner.actor_optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_actor_update_leaves_no_gradient_on_the_critics():
    learner = sac()
    learner._update_critics(bandit(64), draws())
    before = [p.grad.clone() for p in learner.critics.parameters()]
    learner._update_actor(bandit(64), draws())
    assert all(torch.equal(a, p.grad) for a, p in zip(before, learner.critics.parameters(), strict=True))


def test_bc_regresses_the_logged_action():
    torch.manual_seed(0)
    data = bandit(500)
    shifted = Transitions(**{**vars(data), "action": 0.3 + 0.05 * data.action})
    learner = BehaviorCloning(BCConfig(hidden=[16]), LearnerSpec(2, 1))
    assert learned(learner, shifted, 300) == pytest.approx(float(shifted.action.mean()), abs=0.02)


def test_mixed_batches_hold_the_real_ratio_and_forget_old_refreshes():
    raw = linear_world(500)
    model = small_ensemble(raw)
    config = RolloutSpec(length=2, starts=50, retain=2, real_ratio=0.25)
    replay = MixedReplay(transitions_of(raw, model.encoder), Imagination(model, Penalty("ensemble_std")), config)
    learner = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2))
    for seed in range(4):
        metrics = replay.refresh(learner, draws(seed))
    assert metrics["imagined_transitions"] <= 100
    assert len(replay.state()) == 2
    assert len(replay.imagined) <= 200
    batches = replay.batches(3, 40, draws())
    assert [float(b.logged.sum()) for b in batches] == [10.0] * 3
    assert all(len(b) == 40 for b in batches)
    imagined = batches[0][torch.nonzero(batches[0].logged == 0).squeeze(1)]
    assert (imagined.penalty > 0).all()


def numbered(rows: int, first: int) -> Transitions:
    """Transitions told apart by their reward."""
    number = torch.arange(first, first + rows).float()
    return Transitions(number[:, None].repeat(1, 2), number[:, None], number, -number[:, None].repeat(1, 2),
                       number, number, number, number, no_rows(number), number[:, None])  # fmt: skip


def test_recent_parts_are_drawn_as_their_concatenation():
    recent, kept = Recent(bandit(3), parts=3, rows=10), []
    for i, sizes in enumerate([(4, 6), (1,), (3, 2), (7,), (10,), (2, 2, 2), (5,)]):
        pieces = [numbered(size, first=100 * i + 10 * j) for j, size in enumerate(sizes)]
        kept = [*kept, Transitions.cat(pieces)][-3:]
        assert vars(recent.add(pieces))["reward"].tolist() == kept[-1].reward.tolist()
        oracle = Transitions.cat(kept)
        assert len(recent) == len(oracle)
        rows = torch.randint(len(oracle), (200,), generator=draws(i))
        for name, expected in vars(oracle[rows]).items():
            assert torch.equal(getattr(recent[rows], name), expected), name


def test_mixed_batches_are_those_of_the_concatenating_replay():
    raw = linear_world(500)
    model = small_ensemble(raw)
    logged = transitions_of(raw, model.encoder)
    # more starts than are imagined at once, and rollouts of unequal length
    config = RolloutSpec(length=3, starts=600, retain=2, real_ratio=0.25, halt_above=0.855)
    replay = MixedReplay(logged, Imagination(model, Penalty("ensemble_std")), config)
    learner = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2))
    sizes = set()
    for seed in range(4):
        replay.refresh(learner, draws(seed))
        oracle = Transitions.cat([Transitions(**part) for part in replay.state()])
        sizes.add(len(oracle))
        generator = draws(9)
        real = logged[torch.randint(len(logged), (3 * 10,), generator=generator)]
        imagined = oracle[torch.randint(len(oracle), (3 * 30,), generator=generator)]
        for i, batch in enumerate(replay.batches(3, 40, draws(9))):
            both = Transitions.cat([real[10 * i : 10 * i + 10], imagined[30 * i : 30 * i + 30]])
            assert all(torch.equal(a, b) for a, b in zip(vars(batch).values(), vars(both).values(), strict=True))
    assert len(sizes) == 4


def test_recent_parts_survive_saving():
    raw = linear_world(500)
    model = small_ensemble(raw)
    logged, imagination = transitions_of(raw, model.encoder), Imagination(model, Penalty("ensemble_std"))
    config = RolloutSpec(length=3, starts=60, retain=2)
    first, second = (MixedReplay(logged, imagination, config) for _ in range(2))
    learner = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2))
    for seed in range(3):
        first.refresh(learner, draws(seed))
    torch.save(first.state(), saved := io.BytesIO())
    assert saved.tell() < 1.2 * sum(x.nbytes for part in first.state() for x in part.values()) + 10_000
    saved.seek(0)
    second.load_state(torch.load(saved, weights_only=True))
    for replay in (first, second):
        replay.refresh(learner, draws(7))
    for a, b in zip(first.batches(2, 64, draws(8)), second.batches(2, 64, draws(8)), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_logged_batches_are_logged_rows():
    data = bandit(100)
    batch = LoggedReplay(data).batches(2, 10, draws())[1]
    assert all(any(torch.equal(a, b) for b in data.action) for a in batch.action)


@pytest.mark.parametrize("name", [name for name, learner in POLICIES.items() if not learner.plans])
def test_to_act_needs_no_optimizer(name: str) -> None:
    """The first optimizer of a process makes torch import a compiler, which takes longer than a short evaluation."""
    learner = POLICIES[name](POLICIES[name].Config(), LearnerSpec(3, 1))
    assert not [value for value in vars(learner).values() if isinstance(value, torch.optim.Optimizer)]
    assert all(isinstance(one, torch.optim.Optimizer) for one in learner.optimizers())
    assert learner.optimizers()[0] is learner.optimizers()[0]
