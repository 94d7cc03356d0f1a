"""Planners against problems with known answers."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from test_contracts import world_model

from pipeline.imagination import Imagination
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.planning import PLANNERS, Planner
from pipeline.policies.planning.noise import colored
from pipeline.policies.planning.objective import plan_value
from pipeline.policies.planning.planner import Plan
from pipeline.policies.sac import SACConfig
from pipeline.types import Prediction, Rollout, Step
from pipeline.uncertainty import Penalty

A = torch.tensor([[1.0, 0.1], [0.0, 1.0]])
B = torch.tensor([[0.0], [0.1]])
Q, R = torch.diag(torch.tensor([1.0, 0.1])), torch.tensor([[0.5]])
STARTS = torch.tensor([[0.5, 0.0], [-0.3, 0.4], [0.2, -0.5]])
HORIZON = 15
THOROUGH = {"horizon": HORIZON, "population": 300, "iterations": 12, "elites": 30, "decay": 1.0, "discount": 1.0}


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear:
    """x' = A x + B a without noise; reward -(x' Q x' + a R a)."""

    state_dim, action_dim, reward_scale, stateful = 2, 1, 1.0, False

    def predict(self, state, action):
        mean = state @ A.T + action @ B.T
        return Prediction(mean[None], torch.zeros_like(mean)[None], state[:, :0])

    def draw(self, state, action, prediction, generator, member=None):
        after = prediction.mean[0]
        reward = -((after @ Q) * after).sum(1) - ((action @ R) * action).sum(1)
        return Step(after, reward, torch.ones_like(reward), torch.zeros_like(reward), after)

    def sample_members(self, generator):
        return self

    def draw_members(self, batch, generator):
        return torch.zeros(batch, dtype=torch.long)


class Field:
    """One coordinate moved by 0.1 a, one reward for each unit of it; unsure, by 1, wherever it lies beyond 0.5."""

    state_dim, action_dim, reward_scale, stateful = 1, 1, 2.0, False

    def predict(self, state, action):
        mean = state + 0.1 * action
        return Prediction(mean[None], (mean > 0.5).float()[None], state[:, :0])

    def draw(self, state, action, prediction, generator, member=None):
        after = prediction.mean[0]
        reward = after[:, 0]
        return Step(after, reward, torch.ones_like(reward), torch.zeros_like(reward), after)

    def sample_members(self, generator):
        return self

    def draw_members(self, batch, generator):
        return torch.zeros(batch, dtype=torch.long)


def no_penalty(model, state, action, prediction, sample):
    return torch.zeros_like(sample[:, 0])


def in_units_of_reward(model, state, action, prediction, sample):
    return prediction.std[0, :, 0] * model.reward_scale


def planner(name: str, model: Any, penalty: Any = no_penalty, weight: float = 0.0, **options: Any) -> Planner:
    chosen = PLANNERS[name]
    known = {f.name for f in dataclasses.fields(chosen.Config)}
    config = chosen.Config(**{k: v for k, v in options.items() if k in known})
    imagination = Imagination(model, penalty)
    return chosen(
        config,
        LearnerSpec(model.state_dim, model.action_dim, -9.0, 1.0, reward_std=2.0, penalty_weight=weight),
        imagination,
    )


def riccati(x: torch.Tensor, horizon: int) -> tuple[float, float]:
    """The least cost of ``horizon`` steps from ``x``, and the largest action on the way (dynamic programming)."""
    a, b, q, r = (m.double().numpy() for m in (A, B, Q, R))
    to_go, gains = np.zeros((2, 2)), []
    for _ in range(horizon):
        p = q + to_go
        gain = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
        to_go = gain.T @ r @ gain + (a - b @ gain).T @ p @ (a - b @ gain)
        gains.append(gain)
    state, largest = x.double().numpy(), 0.0
    for gain in reversed(gains):
        action = -gain @ state
        largest, state = max(largest, abs(float(action[0]))), a @ state + b @ action
    return float(x.double().numpy() @ to_go @ x.double().numpy()), largest


@pytest.mark.parametrize("name", PLANNERS)
def test_solves_the_linear_quadratic_problem(name: str):
    solver = planner(name, Linear(), **THOROUGH)
    predicted = solver.predicted_rollout(STARTS)
    for x, cost in zip(STARTS, -predicted.reward.sum(1), strict=True):
        least, largest = riccati(x, HORIZON)
        assert largest < 1  # so that the bounds on actions do not matter
        assert least * (1 - 1e-4) <= cost.item() <= 1.01 * least


@pytest.mark.parametrize("name", PLANNERS)
def test_a_few_plans_a_step_are_enough_when_each_goes_on_from_the_last(name: str):
    """The cost of 30 real steps, against the best there is and against starting from nothing at every step."""
    cost = {}
    for warm in (True, False):
        few = {**THOROUGH, "population": 24, "iterations": 2, "elites": 6, "noise": 0.25, "warm_start": warm}
        actor = planner(name, Linear(), **few).receding()
        rollout = Imagination(Linear(), no_penalty).rollout(actor, STARTS, 30, None)
        cost[warm] = -rollout.reward.sum(1)
    assert (cost[True] < cost[False]).all()
    assert cost[True].sum() < 1.25 * sum(riccati(x, 30)[0] for x in STARTS)


def test_plans_move_on_by_one_step():
    action = torch.arange(6.0).reshape(1, 3, 2)
    shifted = Plan(action, action + 10, action[:, None].repeat(1, 2, 1, 1)).shifted()
    assert shifted.action.tolist() == [[[2, 3], [4, 5], [4, 5]]]
    assert shifted.mean.tolist() == [[[12, 13], [14, 15], [14, 15]]]
    assert shifted.candidates.tolist() == [[[[2, 3], [4, 5], [4, 5]]] * 2]


@pytest.mark.parametrize("name", PLANNERS)
def test_warm_start_is_the_shifted_plan_and_a_new_episode_starts_from_nothing(name: str):
    still = planner(name, Linear(), horizon=3, population=4, elites=2, iterations=1, noise=0.0)
    actor, before = still.receding(), torch.tensor([[[0.1], [0.2], [0.3]]])
    actor.last = Plan(before, before, before[:, None][:, :0])
    assert actor(STARTS[:1], 0, None).item() == pytest.approx(0.2)  # without noise nothing better is found
    assert actor(STARTS[:1], 1, None).item() == pytest.approx(0.3)
    assert still.receding()(STARTS[:1], 0, None).item() == 0


@pytest.mark.parametrize("name", PLANNERS)
def test_each_episode_is_planned_for_as_if_it_were_alone(name: str):
    small = planner(name, Linear(), horizon=6, population=20, elites=5, iterations=3)
    together, alone = small.receding(), [small.receding() for _ in STARTS]
    for t in range(3):
        actions = together(STARTS, t, None)
        single = [actor(x[None], t, None) for actor, x in zip(alone, STARTS, strict=True)]
        torch.testing.assert_close(actions, torch.cat(single))
    assert not torch.equal(small.receding()(STARTS, 0, None), actions)  # it had gone on from its last plan
    torch.testing.assert_close(small.receding()(STARTS, 0, None), small.act(STARTS, None))


@pytest.mark.parametrize("name", PLANNERS)
def test_penalty_and_cap_keep_plans_out_of_where_the_model_is_unsure(name: str):
    options = {"horizon": 10, "population": 200, "elites": 20, "iterations": 6}
    start = torch.tensor([[0.0], [0.2]])

    def furthest(weight: float, **more: Any) -> torch.Tensor:
        solver = planner(name, Field(), in_units_of_reward, weight, **options, **more)
        return solver.predicted_rollout(start).state.amax((1, 2))

    assert (furthest(0.0) > 0.7).all()
    assert (furthest(5.0) <= 0.5).all()
    assert (furthest(0.0, penalty_cap=0.5) <= 0.5).all()  # the penalty there is one standard deviation
    assert (furthest(0.0, penalty_cap=1.5) > 0.7).all()


def rollout_of(reward, penalty, continue_prob, terminal, halted) -> Rollout:
    rows = [torch.tensor([x]) for x in (reward, penalty, continue_prob, terminal, halted)]
    over = torch.cat([torch.zeros(1, 1), 1 - (1 - rows[3][:, :-1]) * (1 - rows[4][:, :-1])], 1)
    alive = 1 - over.cummax(1).values
    return Rollout(torch.zeros(1, 3, 1), torch.zeros(1, 4, 2), *rows, alive)


def test_worth_of_a_plan_by_hand():
    on, never = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    reward, penalty = [1.0, 2.0, 4.0], [0.5, 1.0, 2.0]
    plain = rollout_of(reward, penalty, on, never, never)
    assert plan_value(plain, 0.0, 0.5, 0.0).item() == 1 + 1 + 1
    assert plan_value(plain, 2.0, 1.0, 0.0).item() == 0 + 0 + 0
    assert plan_value(plain, 0.0, 0.5, 0.0, torch.tensor([8.0])).item() == 3 + 8 / 8
    # it ends at the second step: what follows counts nothing, but the penalty there, 1, is paid for the one step left
    ending = rollout_of(reward, penalty, [1.0, 0.2, 1.0], [0.0, 1.0, 0.0], never)
    assert plan_value(ending, 0.0, 1.0, 0.0).item() == 1 + 2
    assert plan_value(ending, 2.0, 1.0, 0.0).item() == 0 + 0 - 2
    # with a value of last states, for all steps to come: discounted to 0.5 of -2 / (1 - 0.5), at the second step
    assert plan_value(ending, 2.0, 0.5, 0.0, torch.tensor([8.0])).item() == 0.5 * 0.5 * -2 / (1 - 0.5)
    # an end of probability 0.25 after the first step: its penalty for two steps, or else what comes
    doubtful = rollout_of(reward, penalty, [0.75, 1.0, 1.0], never, never)
    assert plan_value(doubtful, 0.0, 1.0, 0.0).item() == 1 + 0.75 * (2 + 4)
    assert plan_value(doubtful, 2.0, 1.0, 0.0).item() == 0 + 0.25 * 2 * -1
    # a halt at the second step: the worst at once, and for the step left
    halting = rollout_of(reward, penalty, on, never, [0.0, 1.0, 0.0])
    assert plan_value(halting, 0.0, 1.0, -7.0).item() == 1 - 7 - 7


def test_colored_noise_has_variance_one_and_the_spectrum_it_is_named_for():
    for steps, color in itertools.product((1, 7, 20), (0.0, 1.0, 2.0)):
        noise = colored((20_000, steps, 2), color, draws())
        assert noise.shape == (20_000, steps, 2)
        assert noise.var(dim=(0, 2)).sub(1).abs().max() < 0.05
    power = {c: torch.fft.rfft(colored((20_000, 20, 1), c, draws())[..., 0]).abs().square().mean(0) for c in (0, 2)}
    assert power[0][2:9].std() < 0.05 * power[0][2:9].mean()
    assert (power[2][2] / power[2][8]).item() == pytest.approx(4.0**2, rel=0.05)


def test_actions_stay_within_bounds_and_the_mean_is_tried():
    solver = planner("cem", Linear(), horizon=4)
    mean = torch.full((2, 4, 1), 0.9)
    samples = solver._sample_plans(50, mean, torch.ones(2, 4, 1), draws())
    assert samples.abs().max() == 1
    assert torch.equal(samples[:, 0], mean)


def test_drawn_futures_are_a_mean_over_members():
    model, weight = world_model("gaussian_ensemble"), 0.5
    state, plans = torch.randn(3, 3, generator=draws()), torch.rand(3, 5, 4, 2, generator=draws()) * 2 - 1
    solver = planner("cem", model, Penalty("ensemble_std"), weight, horizon=4, particles=400)
    worth = solver.objective(state, plans, draws())
    assert worth.shape == (3, 5)
    chosen = solver.objective
    rows = chosen.rollout(state[1:2].expand(4000, 3), plans[1, 2].expand(4000, 4, 2), draws(1))
    assert plan_value(rows, weight, 0.99, 0.0).mean().item() == pytest.approx(worth[1, 2].item(), rel=0.05)
    members = {int(m) for m in model.draw_members(100, draws())}
    assert members <= {*model.elites.tolist()}


@pytest.mark.parametrize(
    "options",
    [{"elites": 101}, {"horizon": 0}, {"horizon": 10**6}, {"discount": 1.5}, {"penalty_cap": -1.0},
     {"temperature": 0.0}, {"momentum": 1.0}, {"decay": 0.5}, {"terminal_value": SACConfig(discount=0.9)}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]):
    takers = [p for p in PLANNERS.values() if options.keys() <= {f.name for f in dataclasses.fields(p.Config)}]
    assert takers
    for taker in takers:
        with pytest.raises(ValueError, match=next(iter(options))):
            taker.Config(**options)
