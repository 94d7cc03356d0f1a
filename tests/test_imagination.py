"""The one loop that imagines, on a counting world."""

import pytest
import torch

from pipeline.imagination import Imagination, RolloutConfig
from pipeline.types import Prediction, Step


class Counting:
    """The state counts steps; it ends at 3; two members that differ by their number."""

    state_dim, action_dim, reward_scale = 1, 1, 2.0

    def sample_members(self, generator):
        return self

    def predict(self, state, action):
        mean = torch.stack([state + 1, state + 1])
        return Prediction(mean, torch.stack([state, state]), state[:, :0])

    def draw_members(self, batch, generator):
        return torch.randint(2, (batch,), generator=generator)

    def draw(self, state, action, prediction, generator, member=None):
        member = self.draw_members(len(state), generator) if member is None else member
        end = (prediction.mean[0] >= 3).float().squeeze(1)
        return Step(prediction.mean[0] + 0 * action, action.squeeze(1), 1 - end, member, prediction.mean[0])


def penalty(model, state, action, prediction, sample):
    return prediction.std[0].squeeze(1) * model.reward_scale


def actor(state, t, generator):
    return torch.full_like(state, float(t))


def test_counts_stops_at_terminals_and_flattens_what_was_taken():
    start = torch.tensor([[0.0], [2.0]])
    rollout = Imagination(Counting(), penalty).rollout(actor, start, 5, torch.Generator().manual_seed(0))
    assert rollout.state[0].squeeze(1).tolist() == [0, 1, 2, 3, 4, 5]
    assert rollout.alive.tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert rollout.reward[0].tolist() == [0, 1, 2, 3, 4]
    assert rollout.penalty[0, :3].tolist() == [0, 2, 4]
    steps = rollout.transitions()
    assert sorted(zip(steps.state[:, 0].tolist(), steps.next_state[:, 0].tolist(), strict=False)) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (2, 3),
    ]
    assert steps.terminal.sum() == 2
    assert steps.logged.sum() == 0


def test_halt_is_not_a_termination():
    rollout = Imagination(Counting(), penalty).rollout(
        actor, torch.tensor([[0.0]]), 3, torch.Generator().manual_seed(0), halt_above=0.5
    )
    assert rollout.alive.tolist() == [[1, 1, 0]]
    assert rollout.halted.tolist()[0][:2] == [0, 1]
    assert rollout.terminal[0, :2].sum() == 0
    steps = rollout.transitions()
    assert steps.halted.tolist() == [0, 1]
    assert steps.terminal.tolist() == [0, 0]


def test_fixed_member_is_kept_for_the_whole_rollout():
    class Recording(Counting):
        def __init__(self):
            self.seen = []

        def draw(self, state, action, prediction, generator, member=None):
            step = super().draw(state, action, prediction, generator, member)
            self.seen.append(step.member)
            return step

    for fixed in (True, False):
        model = Recording()
        Imagination(model, penalty).rollout(
            actor, torch.zeros(64, 1), 3, torch.Generator().manual_seed(0), fixed_member=fixed
        )
        assert all(torch.equal(model.seen[0], other) for other in model.seen) == fixed


def test_random_weights_are_drawn_once_for_a_whole_rollout():
    class Wandering(Counting):
        """Every sample of its weights moves the state by another number."""

        step, seen = 1, 0

        def sample_members(self, generator):
            self.seen += 1
            sample = Wandering()
            sample.step = int(torch.randint(100, (1,), generator=generator))
            return sample

        def predict(self, state, action):
            mean = torch.stack([state + self.step, state + self.step])
            return Prediction(mean, torch.ones_like(mean), state[:, :0])

    model, start = Wandering(), torch.zeros(1, 1)
    for seed in (0, 1):
        sampled = int(torch.randint(100, (1,), generator=torch.Generator().manual_seed(seed)))
        rollout = Imagination(model, penalty).rollout(actor, start, 3, torch.Generator().manual_seed(seed))
        assert rollout.state.flatten().tolist() == [0, sampled, 2 * sampled, 3 * sampled]
    mean = Imagination(model, penalty).rollout(actor, start, 3, None)  # without a generator nothing is drawn
    assert mean.state.flatten().tolist() == [0, 1, 2, 3]
    assert model.seen == 2


def test_gradient_reaches_the_actor():
    weight = torch.tensor(0.3, requires_grad=True)
    rollout = Imagination(Counting(), penalty).rollout(
        lambda s, t, g: s * weight, torch.ones(1, 1), 2, torch.Generator().manual_seed(0)
    )
    rollout.reward.sum().backward()
    assert weight.grad == 1 + 2  # rewards are 1 w and 2 w


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="real_ratio"):
        RolloutConfig(real_ratio=1.5)
