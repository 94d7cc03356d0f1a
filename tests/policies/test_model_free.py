"""TD3+BC, ReBRAC and implicit Q-learning: one batch by hand, and problems with known answers."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn
from toys import bandit, learned

from pipeline.policies.iql import IQL, IQLConfig
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import expectile_loss
from pipeline.policies.rebrac import ReBRAC, ReBRACConfig
from pipeline.policies.td3_bc import TD3BC, TD3BCConfig
from pipeline.types import Transitions

LOGS = LearnerSpec(2, 2, reward_std=2.0)


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


class Fixed(nn.Module):
    """Critics of given values, whatever the state and the action, with a weight for the optimizer."""

    def __init__(self, *values: list[float]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return self.values + 0.0  # a copy: the optimizer changes the weight in place


class Echo(nn.Module):
    """Critics whose value is the first dimension of the action."""

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return action[:, 0].expand(2, -1)


def batch() -> Transitions:
    """Two steps: the first goes on, the second ends the task."""
    state = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    action = torch.tensor([[0.5, -0.5], [0.0, 1.0]])
    following = torch.tensor([[0.3, 0.1], [0.0, 1.0]])
    return Transitions.from_log(
        state, action, torch.tensor([1.0, 3.0]), state, torch.tensor([0.0, 1.0]), next_action=following
    )


def still(learner: TD3BC) -> TD3BC:
    """``learner`` whose policy and target policy choose the action 0 everywhere."""
    for actor in (learner.actor, learner.target_actor):
        for weight in actor.parameters():
            nn.init.zeros_(weight)
    return learner


def quiet(**settings: object) -> TD3BC:
    return still(TD3BC(TD3BCConfig(hidden=[4], discount=0.5, target_noise=0.0, **settings), LOGS))


def test_td3_bc_targets_take_the_lower_critic_and_end_at_terminals():
    learner = quiet()
    learner.target_critics = Fixed([4.0, 9.0], [6.0, 1.0])
    # 1 + 0.5 * min(4, 6), and 3 alone
    assert learner._targets(batch(), draws()).tolist() == [3.0, 3.0]


def test_td3_bc_losses_by_hand():
    learner = quiet()
    learner.target_critics, learner.critics = Fixed([4.0, 9.0], [6.0, 1.0]), Fixed([2.0, 4.0], [-8.0, 8.0])
    metrics = learner.update(batch(), None, draws())
    # targets 3, 3; squared errors 1, 1 of the first critic and 121, 25 of the second
    assert metrics["critic_loss"].item() == pytest.approx((1 + 1) / 2 + (121 + 25) / 2)
    assert metrics["q_mean"].item() == pytest.approx(1.5)


@pytest.mark.parametrize("weight", [0.01, 0.4, 2.0])
def test_td3_bc_actor_loss_by_hand(weight: float):
    learner = quiet(bc_weight=weight)
    learner.critics = Fixed([2.0, 4.0], [-8.0, 8.0])
    metrics = learner._update_actor(batch())
    # action 0 against (0.5, -0.5) and (0, 1): mean squares 0.25 and 0.5; the first critic over its mean size: 1
    assert metrics["actor_loss"].item() == pytest.approx(weight * 0.375 - 1.0)


def test_td3_bc_clips_noise_and_actions():
    config = TD3BCConfig(hidden=[4], target_noise=100.0, target_noise_clip=0.5)
    learner = still(TD3BC(config, LOGS))
    learner.target_critics = Echo()
    many = batch()[torch.zeros(500, dtype=torch.long)]
    action = (learner._targets(many, draws()) - many.reward) / config.discount
    assert action.abs().max() <= 0.5 + 1e-6
    assert (action.abs() > 0.5 - 1e-6).float().mean() > 0.9  # a deviation of 100 is nearly always clipped


def test_td3_bc_updates_the_actor_every_second_time():
    torch.manual_seed(0)
    learner = TD3BC(TD3BCConfig(hidden=[4]), LOGS)
    moved = []
    for _ in range(4):
        before = [p.detach().clone() for p in (*learner.actor.parameters(), *learner.target_critics.parameters())]
        metrics = learner.update(batch(), None, draws())
        after = [*learner.actor.parameters(), *learner.target_critics.parameters()]
        moved.append(any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)))
        assert ("actor_loss" in metrics) == moved[-1]
    assert moved == [True, False, True, False]


def test_rebrac_targets_pay_for_leaving_the_next_logged_action():
    config = ReBRACConfig(hidden=[4], discount=0.5, target_noise=0.0, critic_bc_weight=0.25)
    learner = still(ReBRAC(config, LOGS))
    learner.target_critics = Fixed([4.0, 9.0], [6.0, 1.0])
    # action 0 against (0.3, 0.1): 0.1, times 0.25 standard deviations of 2; nothing after a terminal
    assert learner._targets(batch(), draws()).tolist() == pytest.approx([1 + 0.5 * (4 - 0.05), 3.0])


def test_rebrac_actor_climbs_the_lower_critic():
    learner = still(ReBRAC(ReBRACConfig(hidden=[4], bc_weight=0.1), LOGS))
    learner.critics = Fixed([2.0, 4.0], [-8.0, 8.0])
    metrics = learner._update_actor(batch())
    # lower critics -8 and 4, of mean size 6; squared errors 0.5 and 1, summed over dimensions
    assert metrics["actor_loss"].item() == pytest.approx(0.1 * 0.75 - (-8 + 4) / 2 / 6)


def test_expectile_loss_by_hand():
    errors = torch.tensor([2.0, -2.0, 0.0])
    assert expectile_loss(errors, 0.7).tolist() == pytest.approx([2.8, 1.2, 0.0])
    assert expectile_loss(errors, 0.5).tolist() == pytest.approx([2.0, 2.0, 0.0])


@pytest.mark.parametrize("expectile", [0.1, 0.5, 0.9])
def test_expectile_loss_is_least_at_the_expectile(expectile: float):
    sample = torch.distributions.Exponential(1.0).icdf((torch.arange(2000) + 0.5) / 2000)
    grid = torch.linspace(0, 4, 4001)
    best = grid[expectile_loss(sample[:, None] - grid, expectile).mean(0).argmin()]
    above, below = (sample - best).clamp(min=0).mean(), (best - sample).clamp(min=0).mean()
    assert (expectile * above).item() == pytest.approx(((1 - expectile) * below).item(), rel=0.02)


def test_iql_losses_by_hand():
    learner = IQL(IQLConfig(hidden=[4], discount=0.5, expectile=0.75, inverse_temperature=2.0), LOGS)
    for weight in (*learner.actor.parameters(), *learner.state_value.parameters()):
        nn.init.zeros_(weight)
    nn.init.constant_(learner.state_value[-1].bias, 1.0)  # a value of 1 standard deviation: 2 in the log's unit
    learner.target_critics, learner.critics = Fixed([4.0, 1.0], [6.0, 3.0]), Fixed([3.0, 3.0], [2.0, 5.0])
    metrics = learner.update(batch(), None, draws())
    # in standard deviations: lower critics 2 and 0.5, so advantages 1 and -0.5
    assert metrics["advantage"].item() == pytest.approx(0.25)
    assert metrics["value_loss"].item() == pytest.approx((0.75 * 1 + 0.25 * 0.25) / 2)
    # targets 0.5 + 0.5 * 1 and 1.5; the critics say 1.5, 1.5 and 1, 2.5
    assert metrics["critic_loss"].item() == pytest.approx((0.25 + 0) / 2 + (0 + 1) / 2)
    assert metrics["q_mean"].item() == pytest.approx(3.25)
    # squared errors of action 0, summed: 0.5 and 1, weighted by exp(2) and exp(-1)
    assert metrics["actor_loss"].item() == pytest.approx((math.exp(2) * 0.5 + math.exp(-1) * 1) / 2, rel=1e-5)


def test_iql_weights_are_bounded():
    learner = IQL(IQLConfig(hidden=[4], inverse_temperature=3.0), LOGS)
    assert learner._weights(torch.tensor([-math.inf, 0.0, 50.0])).tolist() == [0.0, 1.0, 100.0]


@pytest.mark.parametrize(("weight", "action"), [(1e-3, 0.5), (1e3, 0.0)])
def test_td3_bc_finds_the_best_action_or_imitates(weight: float, action: float):
    torch.manual_seed(0)
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    learner = TD3BC(TD3BCConfig(hidden=[32, 32], bc_weight=weight, **rates), LearnerSpec(2, 1, reward_std=0.5))
    assert learned(learner, bandit(2000), 600) == pytest.approx(action, abs=0.12)


@pytest.mark.parametrize(("temperature", "action"), [(0.0, 0.0), (20.0, 0.5)])
def test_iql_goes_from_the_mean_action_to_the_best_one(temperature: float, action: float):
    torch.manual_seed(0)
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3, "actor_decay": False, "target_rate": 0.05}
    config = IQLConfig(hidden=[32, 32], inverse_temperature=temperature, **rates)
    learner = IQL(config, LearnerSpec(2, 1, reward_std=0.5))
    assert learned(learner, bandit(2000), 600) == pytest.approx(action, abs=0.12)


@pytest.mark.parametrize(("learner_class", "settings"), [(TD3BC, {}), (ReBRAC, {"critic_bc_weight": 0.0}), (IQL, {})])
@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_values_are_discounted_sums_in_any_unit_of_reward(
    learner_class: type[TD3BC] | type[IQL], settings: dict[str, float], unit: float
):
    """The same reward forever is worth reward / (1 - discount)."""
    torch.manual_seed(0)
    config = learner_class.Config(hidden=[32], discount=0.8, critic_learning_rate=3e-3, target_rate=0.05, **settings)
    learner = learner_class(config, LearnerSpec(2, 1, reward_std=unit))
    endless = replace(bandit(2000), reward=torch.full((2000,), unit), terminal=torch.zeros(2000))
    learned(learner, endless, 800)
    assert learner.value(torch.zeros(1, 2), draws()).item() == pytest.approx(5 * unit, rel=0.1)
