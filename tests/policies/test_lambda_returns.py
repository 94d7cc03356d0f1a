"""Lambda-returns along stored rollouts and their lower expectile, by hand."""

import pytest
import torch
from torch import Generator, Tensor
from toys import linear_world, small_ensemble, transitions_of

from pipeline.imagination import Imagination, RolloutSpec
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import chained_return, followed, lambda_return
from pipeline.policies.sac import SAC, SACConfig
from pipeline.training.replay_buffer import MixedReplay
from pipeline.types import Rollout, Transitions, no_rows
from pipeline.uncertainty import Penalty


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def chain(
    state: list[float], end: list[float], logged: list[float] | None = None, **fields: list[float]
) -> Transitions:
    """Steps of reward 1 from ``state`` to ``end``."""
    zeros = [0.0] * len(state)
    start, stop = torch.tensor(state, dtype=torch.float)[:, None], torch.tensor(end, dtype=torch.float)[:, None]
    flags = {"logged": logged or zeros, **{name: fields.get(name, zeros) for name in ("terminal", "penalty", "halted")}}
    return Transitions(
        state=start,
        action=0 * start,
        reward=torch.ones(len(state)),
        next_state=stop,
        next_action=0 * start,
        row=no_rows(start[:, 0]),
        **{name: torch.tensor(values, dtype=torch.float) for name, values in flags.items()},
    )


def test_a_step_is_followed_where_the_next_row_starts_at_its_end():
    batch = chain([0, 1, 2, 7, 8, 9, 10], [1, 2, 3, 8, 9, 10, 11], terminal=[0, 0, 0, 0, 1, 0, 0])
    assert followed(batch).tolist() == [1, 1, 0, 1, 0, 1, 0]
    batch = chain([0, 1, 2, 3], [1, 2, 3, 4], logged=[1, 1, 0, 0], halted=[0, 0, 1, 0])
    assert followed(batch).tolist() == [0, 0, 0, 0]  # of logged steps none, and none after a halt


def test_chained_returns_of_whole_rollouts_are_lambda_returns():
    reward, value = torch.randn(6, 7, generator=draws(1)), torch.randn(6, 7, generator=draws(2))
    goes_on = torch.ones(6, 7)
    goes_on[:, -1] = 0
    target = reward + 0.9 * value
    returns = chained_return(target.flatten(), value.flatten(), goes_on.flatten(), 0.9 * 0.8).view(6, 7)
    expected = lambda_return(reward, torch.full_like(reward, 0.9), value, torch.full_like(reward, 0.8))
    torch.testing.assert_close(returns, expected)


def test_chained_return_by_hand():
    # rows 0 and 1 are one rollout: R_1 = 5, and R_0 = 2 + 0.5 (5 - 1) = 4
    target, value = torch.tensor([2.0, 5.0, 7.0]), torch.tensor([1.0, 3.0, 9.0])
    assert chained_return(target, value, torch.tensor([1.0, 0.0, 0.0]), 0.5).tolist() == [4, 5, 7]
    assert chained_return(target[:1], value[:1], torch.zeros(1), 0.5).tolist() == [2]


def sac(**settings: object) -> SAC:
    torch.manual_seed(0)
    config = SACConfig(hidden=[16], discount=0.5, clamp_targets=False, **settings)
    return SAC(config, LearnerSpec(1, 1, -1.0, 2.0, reward_std=0.5, penalty_weight=2.0))


def test_targets_of_a_batch_by_hand():
    # Two steps to a terminal, whose penalty of 0.3 costs 0.6 now and 1.2 afterwards; then a halt, which bootstraps.
    batch = chain([0, 1, 5], [1, 2, 6], terminal=[0, 1, 0], penalty=[0, 0.3, 0], halted=[0, 0, 1])
    learner = sac(td_lambda=0.8)
    value = learner.value(batch.next_state, draws()).tolist()
    last = 0.4 - 0.5 * 1.2
    expected = [1 + 0.5 * (0.2 * value[0] + 0.8 * last), last, 1 + 0.5 * value[2]]
    assert learner._targets(batch, draws()).tolist() == pytest.approx(expected)
    one_step = [1 + 0.5 * value[0], last, 1 + 0.5 * value[2]]
    assert sac()._targets(batch, draws()).tolist() == pytest.approx(one_step)


@pytest.mark.parametrize("expectile", [0.5, 0.25])
def test_critics_learn_the_expectile(expectile: float) -> None:
    """Of -1 and 1 with equal odds it is 2 tau - 1: tau (1 - e) = (1 - tau) (e + 1)."""
    learner = sac(expectile=expectile, critic_learning_rate=1e-2)
    zero = torch.zeros(256)
    for i in range(300):
        reward = torch.where(torch.rand(256, generator=draws(i)) < 0.5, -1.0, 1.0)
        still = zero[:, None]
        batch = Transitions(still, still, reward, still, zero + 1, zero, zero, zero, no_rows(zero), still)
        learner._update_critics(batch, draws())
    value = learner.critics(torch.zeros(1, 1), torch.zeros(1, 1))
    assert value.mean().item() == pytest.approx(2 * expectile - 1, abs=0.05)


def replay_of(segment: int, **options: object) -> tuple[MixedReplay, list[Rollout]]:
    """A replay after two refreshes, and the rollouts of these, in the order of the storage."""
    raw = linear_world(500)
    model = small_ensemble(raw)
    imagination, rollouts = Imagination(model, Penalty("ensemble_std")), []
    rollout = imagination.rollout

    def recorded(*args: object, **kwargs: object) -> Rollout:
        rollouts.append(rollout(*args, **kwargs))
        return rollouts[-1]

    imagination.rollout = recorded
    config = RolloutSpec(length=6, starts=600, retain=2, real_ratio=0.25, **options)
    replay = MixedReplay(transitions_of(raw, model.encoder), imagination, config, segment)
    learner = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2))
    for seed in range(2):
        replay.refresh(learner, draws(seed))
    return replay, rollouts


def goes_on(rollout: Rollout) -> Tensor:
    """Which of the stored steps has a next one, in the order of the storage."""
    after = torch.cat([rollout.alive[:, 1:], torch.zeros(len(rollout.alive), 1)], 1)
    return after[rollout.alive.bool()]


def test_stored_steps_are_followed_within_their_rollout_only():
    replay, rollouts = replay_of(segment=4, halt_above=0.855)
    stored = Transitions.cat([Transitions(**part) for part in replay.state()])
    expected = torch.cat([goes_on(rollout) for rollout in rollouts])
    assert len(expected) < 6 * 1200  # some rollouts were halted
    assert torch.equal(followed(stored), expected)


def test_batches_hold_consecutive_imagined_steps():
    replay, _ = replay_of(segment=4, halt_above=0.855)
    stored = Transitions.cat([Transitions(**part) for part in replay.state()])
    at = {tuple(state.tolist()): i for i, state in enumerate(torch.cat([stored.state, stored.next_state], 1))}
    assert len(at) == len(stored)
    counts = torch.zeros(len(stored))
    for batch in replay.batches(200, 40, draws(3)):
        assert batch.logged.tolist() == [1.0] * 10 + [0.0] * 30
        states = torch.cat([batch.state, batch.next_state], 1)[10:]
        index = torch.tensor([at[tuple(state.tolist())] for state in states])
        for segment in index.split(4):  # the last one has 2 rows
            assert torch.equal(segment, (segment[0] + torch.arange(len(segment))) % len(stored))
        counts += index.bincount(minlength=len(stored))
    # the ends of the storage are drawn as often as the middle
    assert counts[:500].mean().item() == pytest.approx(counts.mean().item(), rel=0.25)
    assert counts[-500:].mean().item() == pytest.approx(counts.mean().item(), rel=0.25)
    assert followed(batch)[10:].sum() > 5


def test_a_resumed_replay_draws_the_same_segments():
    first, _ = replay_of(segment=4)
    second = MixedReplay(first.logged, first.imagination, first.config, 4)
    second.load_state(first.state())
    for a, b in zip(first.batches(2, 40, draws(8)), second.batches(2, 40, draws(8)), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_only_lambda_returns_need_segments():
    assert sac().segment == 1 < sac(td_lambda=0.5).segment
