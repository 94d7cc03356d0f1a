"""What makes soft actor-critic more cautious: COMBO's gap and MOReL's floor, by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import conservative_gap
from pipeline.policies.sac import SAC, SACConfig
from pipeline.types import Transitions, no_rows


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def sac(reward_range: tuple[float, float] = (-1.0, 2.0), **settings: object) -> SAC:
    torch.manual_seed(0)
    config = SACConfig(hidden=[32], discount=0.5, layer_norm=False, critic_learning_rate=3e-3, **settings)
    return SAC(config, LearnerSpec(1, 1, *reward_range, reward_std=0.5, penalty_weight=2.0))


def half_imagined(rows: int) -> Transitions:
    """One-step episodes of reward 1: logged ones in state -1, imagined ones in state 1."""
    logged = (torch.arange(rows) % 2 == 0).float()
    state, one = (1 - 2 * logged)[:, None], torch.ones(rows)
    action = torch.rand(rows, 1, generator=draws(1)) * 2 - 1
    return Transitions(state, action, one, state, one, 0 * one, logged, 0 * one, no_rows(0 * one), action)


def test_conservative_gap_by_hand():
    policy, value = torch.tensor([[1.0, 2.0, 30.0], [5.0, 6.0, 7.0]]), torch.tensor([[4.0, 8.0, 3.0], [1.0, 1.0, 9.0]])
    logged = torch.tensor([0.0, 0.0, 1.0])
    # the policy in two imagined states: 1.5 and 5.5; the logged step: 3 and 9
    assert conservative_gap(policy, value, logged).tolist() == [-1.5, -3.5]
    assert conservative_gap(policy, value, torch.zeros(3)).tolist() == [11.0, 6.0]  # nothing logged


def test_conservatism_moves_values_by_its_weight_over_the_share_of_rows():
    # Least squares at 1, of half of the rows each, minus 2 w on logged values and plus 2 w on those of the policy in
    # imagined states: 1 + w / 0.5 and 1 - w / 0.5, with w = 0.25 of a standard deviation of 0.5. Imagined actions are
    # the policy's own, so both halves of the imagined rows' loss agree on every action.
    learner, generator = sac(conservatism=0.25, alpha=0.1, actor_learning_rate=1e-30, actor_decay=False), draws()
    for _ in range(1000):
        batch = half_imagined(128)
        policy = learner.act(batch.state, generator).detach()
        learner.update(
            replace(batch, action=torch.where(batch.logged[:, None] == 1, batch.action, policy)), None, generator
        )
    with torch.no_grad():
        value = learner.critics(batch.state, learner.act(batch.state, generator))
        logged_value = learner.critics(batch.state, batch.action)
    assert logged_value[:, batch.logged == 1].mean().item() == pytest.approx(1.25, abs=0.03)
    assert value[:, batch.logged == 0].mean().item() == pytest.approx(0.75, abs=0.03)


def test_without_conservatism_nothing_more_is_drawn():
    after = []
    for weight in (0.0, 1.0):
        learner, generator = sac(conservatism=weight), draws()
        learner.update(half_imagined(8), None, generator)
        after.append(torch.rand(1, generator=generator).item())
    plain = draws()
    for _ in range(2):  # one action in the targets, one in the actor's loss
        torch.randn(8, 1, generator=plain)
    assert torch.rand(1, generator=plain).item() == after[0] != after[1]


def ending(terminal: list[float], halted: list[float]) -> Transitions:
    rows = len(terminal)
    zero, one = torch.zeros(rows), torch.ones(rows)
    return Transitions(zero[:, None], zero[:, None], one, zero[:, None], torch.tensor(terminal), 0.3 * one, zero,
                       torch.tensor(halted), no_rows(zero), zero[:, None])  # fmt: skip


def test_after_a_halt_the_floor_is_paid_for_ever():
    # Floor: -1 - 3 x 0.5 = -2.5, for ever -5. Reward 1 less twice the penalty 0.3: 0.4. A terminal pays that penalty
    # for ever: -0.6 / 0.5 = -1.2. A halt outweighs a terminal, which is not believed either.
    learner = sac(halt_cost=3.0)
    batch = ending(terminal=[0.0, 1.0, 1.0, 0.0], halted=[1.0, 0.0, 1.0, 0.0])
    bootstrap = learner.value(batch.next_state, draws())[3].item()
    expected = [0.4 - 0.5 * 5, 0.4 - 0.5 * 1.2, 0.4 - 0.5 * 5, 0.4 + 0.5 * bootstrap]
    assert learner._targets(batch, draws()).tolist() == pytest.approx(expected)


def test_without_a_cost_a_halted_step_bootstraps():
    batch = ending(terminal=[0.0, 0.0], halted=[1.0, 0.0])
    learner = sac()
    value = learner.value(batch.next_state, draws())
    torch.testing.assert_close(learner._targets(batch, draws()), 0.4 + 0.5 * value)


def test_the_floor_lies_within_the_range_of_targets():
    # penalties reach 10 x 0.5, twice: (-1 - 10) / 0.5 = -22, below the floor of cost 3 and above that of cost 30
    assert sac(halt_cost=3.0).value_range == pytest.approx((-22.0, 4.0))
    assert sac(halt_cost=30.0).value_range == pytest.approx((-32.0, 4.0))


def test_negative_weights_are_refused():
    for settings in ({"conservatism": -1.0}, {"halt_cost": -1.0}):
        with pytest.raises(ValueError, match="greater than or equal to 0"):
            SACConfig(**settings)
