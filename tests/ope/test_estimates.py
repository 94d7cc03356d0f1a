"""Offline estimates against problems whose answers are known."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import Statistics
from pipeline.networks.actor import TanhGaussianActor
from pipeline.ope import OfflineConfig, fqe, importance
from pipeline.ope.density import fit_behavior
from pipeline.ope.estimates import discounted, discounts, per_step, replicate_interval
from pipeline.ope.evaluated_policy import EvaluatedPolicy, alike
from pipeline.ope.model_value import imagined_rewards
from pipeline.ope.ranking import rank_correlation, regret_at
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.types import Prediction, Step, Transitions

DISCOUNT = 0.9
CONFIG = OfflineConfig(discount=DISCOUNT, updates=1500, target_rate=0.1, critics=3, hidden=[32], batch_size=64)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- fitted Q evaluation ---

NEXT = np.array([[1, 2], [2, 0], [0, 1]])  # of three states and two actions, -1 and 1
REWARD = np.array([[1.0, -1.0], [0.0, 2.0], [3.0, 0.5]])
CHOSEN = np.array([1, 0, 1])  # what the judged policy does in each state


def tabular_values(ending: int | None = None) -> np.ndarray:
    """(I - discount P) V = r, solved; a step out of state ``ending`` is the last one."""
    transition, states = np.zeros((3, 3)), np.arange(3)
    transition[states, NEXT[states, CHOSEN]] = 1.0
    if ending is not None:
        transition[ending] = 0.0
    return np.linalg.solve(np.eye(3) - DISCOUNT * transition, REWARD[states, CHOSEN])


def tabular_experience(ending: int | None = None, repeats: int = 40) -> fqe.Experience:
    """Every state and action, one-hot states; each repetition is an episode."""
    pairs = torch.tensor(list(itertools.product(range(3), range(2))) * repeats)
    state, choice = pairs.unbind(1)
    after, eye = torch.from_numpy(NEXT)[state, choice], torch.eye(3)
    unit = 2.0 * torch.arange(2) - 1
    return fqe.Experience(
        state=eye[state],
        action=unit[choice][:, None],
        reward=torch.from_numpy(REWARD).float()[state, choice],
        next_state=eye[after],
        next_action=unit[torch.from_numpy(CHOSEN)[after]][:, None],
        terminal=(state == (-1 if ending is None else ending)).float(),
        episode=torch.arange(repeats).repeat_interleave(6),
    )


@pytest.mark.parametrize(("ending", "loss"), [(None, "squared"), (0, "squared"), (None, "huber")])
def test_fitted_q_solves_a_tabular_problem(ending: int | None, loss: str):
    start_action = (2.0 * torch.from_numpy(CHOSEN) - 1)[:, None].float()
    config = OfflineConfig(**{**vars(CONFIG), "loss": loss})
    found = fqe.fit(config, tabular_experience(ending), torch.eye(3), start_action, draws())
    values, truth = found.per_step.mean(0).numpy() / (1 - DISCOUNT), tabular_values(ending)
    np.testing.assert_allclose(values, truth, atol=0.1)
    assert abs(found.drift) < 0.01  # per step
    assert found.clamped == 0.0


def test_an_end_changes_the_tabular_values():
    assert np.abs(tabular_values(0) - tabular_values())[0] > 2.0  # so that the oracle above can tell them apart


def test_a_time_limit_is_bootstrapped_from_and_an_end_is_not():
    data = tabular_experience()[:2]
    data = fqe.Experience(**{**vars(data), "terminal": torch.tensor([0.0, 1.0]), "reward": torch.tensor([2.0, 2.0])})
    q = fqe.FittedQ(CONFIG, 3, 1, fqe.Scale(mean=1.0, std=1.0, low=0.0, high=2.0))
    target, clamped = q.targets(data, 0.75)
    following = 1.0 + q.slow(data.next_state, data.next_action)[:, 0]
    torch.testing.assert_close(target[:, 0], 0.25 * 2 + 0.75 * following)
    assert target[:, 1].tolist() == [0.5] * 3
    assert clamped == 0


def test_targets_that_leave_the_logged_range_are_clamped_and_counted():
    data = tabular_experience()[:4]
    data = fqe.Experience(**{**vars(data), "reward": torch.tensor([100.0, 1.0, 1.0, -100.0])})
    q = fqe.FittedQ(CONFIG, 3, 1, fqe.Scale(mean=1.0, std=1e-6, low=0.0, high=2.0))
    target, clamped = q.targets(data, 0.75)
    assert target[:, 0].tolist() == [2.0] * 3
    assert target[:, 3].tolist() == [0.0] * 3
    assert clamped == 0.5


def test_an_end_widens_the_possible_range_to_nothing():
    reward = torch.tensor([1.0, 3.0])
    assert fqe.Scale.of(reward, torch.zeros(2)) == fqe.Scale(2.0, 1.0, 1.0, 3.0)
    assert fqe.Scale.of(reward, torch.ones(2)) == fqe.Scale(2.0, 1.0, 0.0, 3.0)


def test_the_horizon_grows_from_one_step():
    assert [round(fqe.growing_discount(0.99, done), 6) for done in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.9, 0.99, 0.99]


def test_each_critic_has_its_own_bootstrap_of_the_episodes():
    weights = fqe.bootstrap_weights(50, 30, draws())
    assert weights.sum(1).tolist() == [30.0] * 50
    assert (weights == 0).float().mean().item() == pytest.approx(math.exp(-1), abs=0.05)
    assert fqe.bootstrap_weights(1, 4, draws()).tolist() == [[1.0] * 4]


# --- importance weighting ---


def chain(probability: np.ndarray, repeats: int = 1) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Both choices of two steps, and each pair's probability; the second step's follows the first choice."""
    paths = list(itertools.product(range(2), range(2)))
    return paths, np.array([probability[0, 0, a] * probability[1, a, b] for a, b in paths])


MU = np.array([[[0.5, 0.5], [0, 0]], [[0.25, 0.75], [0.5, 0.5]]])  # step, first choice, choice
PI = np.array([[[0.2, 0.8], [0, 0]], [[0.9, 0.1], [0.4, 0.6]]])
PAID = np.array([[1.0, -2.0], [4.0, 3.0]])  # by first choice, then second choice
FIRST = np.array([0.5, -1.0])


def chain_arrays(paths: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    ratio = np.array([[np.log(PI[0, 0, a] / MU[0, 0, a]), np.log(PI[1, a, b] / MU[1, a, b])] for a, b in paths])
    return ratio, np.array([[FIRST[a], PAID[a, b]] for a, b in paths])


def chain_value() -> float:
    paths, chances = chain(PI)
    return float(sum(p * (FIRST[a] + DISCOUNT * PAID[a, b]) for (a, b), p in zip(paths, chances, strict=True)))


def test_importance_weighting_is_unbiased_over_all_logs_of_one_episode():
    paths, chances = chain(MU)
    estimates = []
    for path in paths:
        ratio, reward = chain_arrays([path])
        expected = importance.unweighted_rewards(ratio, reward, np.ones((1, 2)))
        estimates.append((discounts(2, DISCOUNT) * expected).sum())
    assert chances @ np.array(estimates) == pytest.approx(chain_value())


def test_weighted_importance_is_exact_on_logs_of_exact_shares():
    paths, chances = chain(MU)
    log = [path for path, share in zip(paths, chances, strict=True) for _ in range(round(8 * share))]
    assert len(log) == 8
    ratio, reward = chain_arrays(log)
    for rewards in (importance.weighted_rewards, importance.unweighted_rewards):
        found = rewards(ratio, reward, np.ones((8, 2)))
        assert (discounts(2, DISCOUNT) * found).sum() == pytest.approx(chain_value())


def test_steps_after_a_time_limit_are_left_out():
    ratio = np.array([[0.0, np.log(3.0)], [0.0, 0.0], [0.0, 99.0]])
    reward, observed = np.array([[1.0, 8.0], [2.0, 4.0], [6.0, 99.0]]), np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    assert importance.weighted_rewards(ratio, reward, observed).tolist() == pytest.approx([3.0, 7.0])
    assert importance.unweighted_rewards(ratio, reward, observed).tolist() == pytest.approx([3.0, 14.0])


def test_effective_episodes_by_hand():
    ratio = np.log(np.array([[1.0, 3.0], [1.0, 1.0]]))
    # both count at first, then (3 + 1)^2 / (9 + 1) of them
    assert importance.effective_episodes(ratio, np.ones((2, 2)), np.array([1.0, 3.0])) == pytest.approx(
        (2 + 3 * 1.6) / 4
    )
    huge = np.array([[800.0], [0.0]])  # whose exponential overflows
    assert importance.effective_episodes(huge, np.ones((2, 1)), np.ones(1)) == 1.0


def test_behavior_density_is_that_of_the_logs():
    raw = 0.4 + 0.5 * torch.randn(2000, 1, generator=draws())
    nothing = torch.zeros(2000)
    state = torch.zeros(2000, 2)
    data = Transitions.from_log(state, torch.tanh(raw), nothing, state, nothing)
    actor = fit_behavior(data, 600, draws())
    mean, log_std = actor(torch.zeros(1, 2))
    assert mean.item() == pytest.approx(0.4, abs=0.06)
    assert log_std.exp().item() == pytest.approx(0.5, abs=0.06)
    assert actor.unsquash(torch.tensor([0.5, 1.0]))[1].isfinite()


def test_policies_without_a_density_say_why():
    assert isinstance(SAC(SACConfig(hidden=[4]), LearnerSpec(2, 1)).action_density(), TanhGaussianActor)
    assert "deterministic" in str(BehaviorCloning(BCConfig(hidden=[4]), LearnerSpec(2, 1)).action_density())


# --- the world model's value ---

STATISTICS = Statistics([0.0], [2.0], [-9.0], [9.0], [0], [0.0], [1.0], 0.0, 1.0, -9.0, 9.0, 0)


class CountingModel:
    """Member m adds m + 1 to the count and pays what it counts; the episode ends once it exceeds 6."""

    action_dim, reward_scale = 1, 1.0
    elites = torch.tensor([0, 2])

    def __init__(self) -> None:
        self.encoder = StandardEncoder({"state": [1]}, STATISTICS)
        self.initial, self.observe, self.decode = self.encoder.initial, self.encoder.observe, self.encoder.decode

    def actor_encoder(self) -> StandardEncoder:
        return self.encoder

    def sample_members(self, generator: Any, count: int | None = None) -> "CountingModel":
        return self

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        return Prediction(torch.zeros(3, len(state), 1), torch.ones(3, len(state), 1), torch.zeros(len(state), 0))

    def draw(self, state: Tensor, action: Tensor, prediction: Any, generator: Any, member: Tensor) -> Step:
        count = 2 * state[:, 0] + (member + 1) * action[:, 0]
        return Step(count[:, None] / 2, count, (count <= 6).float(), member, prediction.mean[0])


class One:
    """Always does 1; remembers the states it was asked in."""

    plans = False

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def act(self, state: Tensor, generator: Any) -> Tensor:
        self.seen.append(state)
        return torch.ones(len(state), 1)


def agent(statistics: Statistics = STATISTICS) -> Any:
    return SimpleNamespace(policy=One(), encoder=StandardEncoder({"state": [1]}, statistics))


def test_model_based_value_counts_each_members_rewards():
    judged = EvaluatedPolicy(agent(), CountingModel())
    assert judged.shares_state
    obs = {"state": torch.tensor([[0.0], [5.0]])}
    plain, pessimistic = imagined_rewards(judged, obs, 4, lambda *told: torch.ones(len(told[-1])), 0.5, draws())
    # member 0 counts by one, member 2 by three; the step that exceeds 6 is paid, and the last
    assert plain.tolist() == [[[1, 2, 3, 4], [6, 7, 0, 0]], [[3, 6, 9, 0], [8, 0, 0, 0]]]
    assert pessimistic.tolist() == [[[0.5, 1.5, 2.5, 3.5], [5.5, 6.5, 0, 0]], [[2.5, 5.5, 8.5, 0], [7.5, 0, 0, 0]]]
    assert discounted(plain.numpy(), 0.5).mean(1).tolist() == pytest.approx([(3.25 + 9.5) / 2, (8.25 + 8) / 2])


def test_a_policy_with_other_scales_sees_what_the_model_decodes():
    other = Statistics(**{**vars(STATISTICS), "obs_mean": [1.0], "obs_std": [4.0]})
    met = agent(other)
    judged = EvaluatedPolicy(met, CountingModel())
    assert not judged.shares_state
    imagined_rewards(
        judged, {"state": torch.tensor([[0.0]])}, 3, lambda *told: torch.zeros(len(told[-1])), 0.0, draws()
    )
    # counts 0, 1, 2 by member 0 and 0, 3, 6 by member 2, in the policy's own scales
    assert torch.stack(met.policy.seen).squeeze(-1).tolist() == [[-0.25, -0.25], [0.0, 0.5], [0.25, 1.25]]


def test_alike_compares_weights_and_scales():
    torch.manual_seed(0)
    left, right, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.LayerNorm(2)
    left.state_dim = right.state_dim = other.state_dim = 2  # type: ignore[assignment]
    assert not alike(left, right)
    right.load_state_dict(left.state_dict())
    assert alike(left, right)
    assert not alike(left, other)
    right.state_dim = 3  # type: ignore[assignment]
    assert not alike(left, right)


# --- discounting, intervals, agreement ---


def test_reward_per_step_tells_ends_from_time_limits():
    reward = np.array([[2.0, 2.0, 0.0, 0.0]])
    ended, cut = np.ones((1, 4)), np.array([[1.0, 1.0, 0.0, 0.0]])
    assert per_step(reward, cut, 0.5) == 2.0
    assert per_step(reward, ended, 0.5) == pytest.approx(3.0 / 1.875)


def test_replicate_interval_holds_both_sources_of_doubt():
    rng = np.random.default_rng(0)
    starts = rng.normal(0, 1, 400)
    low, high = replicate_interval(starts[None], 4000)
    assert high - low == pytest.approx(2 * 1.96 * starts.std() / 20, rel=0.1)
    replicates = np.linspace(-1, 1, 41)[:, None] + np.zeros((1, 5))
    assert replicate_interval(replicates, 4000) == pytest.approx((-0.95, 0.95), abs=0.06)


def test_regret_and_rank_correlation_by_hand():
    estimates, returns = [5.0, 4.0, 1.0, 3.0], [10.0, 30.0, 0.0, 20.0]
    assert [regret_at(k, estimates, returns) for k in (1, 2, 4)] == [20.0, 0.0, 0.0]
    # ranks 4 3 1 2 and 2 4 1 3: 1 - 6 (4 + 1 + 0 + 1) / (4 * 15)
    assert rank_correlation(estimates, returns) == pytest.approx(0.4)
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


@pytest.mark.parametrize("wrong", [{"discount": 1.0}, {"critics": 0}, {"loss": "l1"}, {"horizon": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OfflineConfig(**wrong)


def test_params_ask_for_the_embedded_defaults():
    from pipeline.params import build, read_params

    params = read_params(Path(__file__).parents[2] / "params.yaml")
    assert build(OfflineConfig, params["offline"], "offline").discount == 0.99
