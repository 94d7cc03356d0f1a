"""The assessment of world models, on worlds and models whose errors are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import WithoutInputs, build_data_spec, hidden_velocity, linear_world, small_ensemble, transitions_of

from pipeline.assessment.assess import assess
from pipeline.assessment.features import feature_errors
from pipeline.assessment.horizon import distance_apart, trusted_horizon
from pipeline.assessment.linear_baseline import LinearBaseline
from pipeline.assessment.model_error import Scale
from pipeline.assessment.open_loop import open_loop
from pipeline.assessment.penalty_quality import along_rollouts, auc, correlate, fitted_penalties, score, shuffled_auc
from pipeline.assessment.reliability import LEVELS, reliability
from pipeline.assessment.results import Correlation
from pipeline.data import transitions
from pipeline.encoders.statistics import Statistics
from pipeline.ingest.writer import write_dataset
from pipeline.types import Prediction, Segments, Step, Transitions
from pipeline.uncertainty.calibration_file import Calibration
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

A = torch.tensor([[0.9, 0.2], [-0.1, 0.8]])
B = torch.tensor([[0.3], [1.0]])


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_episodes(batch: int, steps: int, seed: int = 0) -> Segments:
    """x' = A x + B a exactly; the reward is 2 x_0 - a + 1."""
    generator = draws(seed)
    obs, action = [torch.randn(batch, 2, generator=generator)], torch.rand(batch, steps, 1, generator=generator) * 2 - 1
    for t in range(steps):
        obs.append(obs[-1] @ A.T + action[:, t] @ B.T)
    seen, nothing = torch.stack(obs, 1), torch.zeros(batch, steps)
    return Segments(action, 2 * seen[:, :-1, 0] - action[..., 0] + 1, nothing, nothing + 1, {"state": seen})


def linear_baseline(data: Segments) -> LinearBaseline:
    seen = data.obs["state"]
    flat = {"obs": seen[:, :-1].flatten(0, 1), "next_obs": seen[:, 1:].flatten(0, 1)}
    flat |= {"action": data.action.flatten(0, 1), "reward": data.reward.flatten()}
    statistics = Statistics.of(flat["obs"], flat["next_obs"], flat["reward"], torch.zeros_like(flat["reward"]))
    return LinearBaseline(flat, statistics)


def test_linear_baseline_is_exact_on_linear_data():
    data = linear_episodes(200, 20)
    seen, reward = linear_baseline(data).rollout(data.obs["state"], data.action)
    torch.testing.assert_close(seen, data.obs["state"][:, 1:], rtol=0, atol=1e-3)
    torch.testing.assert_close(reward, data.reward, rtol=0, atol=1e-3)


class Standing(WithoutInputs):
    """Says that nothing changes, with one penalty dimension that grows with the action."""

    state_dim, action_dim, reward_scale, recurrent = 2, 1, 1.0, False

    def __init__(self) -> None:
        self.elites = torch.tensor([0])

    def initial(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 2)

    def sample_members(self, generator: torch.Generator) -> "Standing":
        return self

    def observe(self, state: Any, action: Any, obs: Any, first: Any) -> torch.Tensor:
        return obs["state"]

    def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        return Prediction(state[None], (1 + action).expand(-1, 2)[None], state[:, :0])

    def draw(self, state: Any, action: Any, prediction: Any, generator: Any, member: Any = None) -> Step:
        nothing = torch.zeros(len(state))
        return Step(state, nothing, nothing + 1, nothing, state)

    def targets(self, batch: Transitions) -> torch.Tensor:
        return batch.next_state

    def decode(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"state": state}


def unit_scale() -> Scale:
    statistics = replace(build_data_spec(linear_world(50)).statistics, obs_std=[1.0, 1.0])
    return Scale({"state": [2]}, statistics)


def test_open_loop_puts_the_model_beside_persistence_and_regression():
    data = linear_episodes(60, 25)
    errors = open_loop(Standing(), [data[:40], data[40:]], unit_scale(), 5, linear_baseline(data))
    assert errors.horizons == [1, 2, 5, 10, 20]
    assert errors.model_rmse == pytest.approx(errors.persistence_rmse)  # the model is persistence
    assert max(errors.linear_rmse + errors.reward_linear_mae) < 1e-3
    moved = data.obs["state"][:, 7] - data.obs["state"][:, 5]
    assert errors.model_rmse[1] == pytest.approx(moved.square().mean().sqrt().item(), rel=1e-5)
    assert errors.reward_mae[0] == pytest.approx(data.reward[:, 5].abs().mean().item(), rel=1e-5)
    assert (errors.trust.horizon, errors.trust.horizon_measured) == (0, 20)


def test_horizon_ends_where_a_curve_first_crosses_a_limit():
    error = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.2])
    far = torch.full((5,), 9.0)
    assert trusted_horizon(error, far, apart=1.0) == 3  # 0.6 is above half of 1; what comes after does not count
    assert trusted_horizon(error, far, apart=2.0) == 5
    assert trusted_horizon(error, far, apart=0.1) == 0
    assert trusted_horizon(error, torch.tensor([0.2, 0.2, 0.9, 0.9, 0.9]), apart=2.0) == 1  # not below persistence
    assert trusted_horizon(error, far, apart=1.0, share=0.25) == 2


def test_unrelated_states_are_those_of_other_windows():
    truth = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]])
    torch.testing.assert_close(distance_apart(truth), torch.full((2, 1), 12.5**0.5))


def test_auc_of_perfect_blind_and_inverted_penalties():
    low, high = np.arange(10.0), np.arange(10.0) + 100
    assert auc(low, high) == 1
    assert auc(high, low) == 0
    assert auc(np.ones(10), np.ones(10)) == 0.5


def test_shuffled_actions_are_told_from_logged_ones():
    """Every logged action is the sign of its state's first entry; the penalty is zero for those alone."""
    state = torch.randn(400, 2, generator=draws())
    action, nothing = state[:, :1].sign(), torch.zeros(400)
    data = Transitions.from_log(state, action, nothing, state, nothing)
    penalties = {
        "knows": lambda m, x, a, p, s: (p.std[0, :, 0] - 1 - s[:, 0].sign()).abs(),
        "blind": lambda m, x, a, p, s: 0 * s[:, 0],
    }
    samples = {f"penalty_{name}": np.zeros(400) for name in penalties}
    found = shuffled_auc(Standing(), data, samples, penalties, draws())
    assert found["blind"] == 0.5
    assert found["knows"] == pytest.approx(0.75, abs=0.05)  # half of the dealt actions are still right


def test_correlations_are_undefined_where_nothing_varies():
    error = np.arange(5.0)
    assert correlate(np.exp(error), error).spearman == pytest.approx(1)
    assert correlate(np.exp(error), error).pearson == pytest.approx(np.corrcoef(np.exp(error), error)[0, 1])
    assert correlate(np.ones(5), error) == Correlation(None, None)


def test_correlations_do_not_depend_on_the_order_of_sums():
    """Threads add in any order; in float32 the seventh digit would differ."""
    draw = np.random.default_rng(0)
    penalty = draw.exponential(size=20_000).astype(np.float32) + 100
    error = penalty + draw.normal(size=20_000).astype(np.float32)
    order = draw.permutation(20_000)
    here, there = correlate(penalty, error).pearson, correlate(penalty[order], error[order]).pearson
    assert here == pytest.approx(there, rel=1e-12)


def test_rollouts_add_their_penalties_up():
    """In a world that moves by its action a standing model errs by the sum of actions: so does the penalty's sum."""
    action = torch.rand(50, 12, 1, generator=draws())
    seen = torch.cat([torch.zeros(50, 1, 1), action.cumsum(1)], 1).expand(50, 13, 2)
    nothing = torch.zeros(50, 12)
    windows = Segments(action, nothing, nothing, nothing + 1, {"state": seen})
    penalties = {"size": lambda m, x, a, p, s: p.std[0, :, 0] - 1}
    found = along_rollouts(Standing(), [windows[:30], windows[30:]], unit_scale(), penalties, 2, draws())["size"]
    assert found.horizons == [1, 2, 5, 10]
    assert found.sum.spearman == pytest.approx([1] * 4, abs=1e-4)
    assert found.max.spearman[0] == pytest.approx(1, abs=1e-4)
    largest, total = action[:, 2:7, 0].amax(1).numpy(), action[:, 2:7, 0].sum(1).numpy()
    assert found.max.pearson[2] == pytest.approx(np.corrcoef(largest, total)[0, 1], abs=1e-3)


def test_score_is_the_mean_of_three():
    assert score(0.6, [0.5, None, 0.1], 0.8) == pytest.approx((0.6 + 0.2 + 0.6) / 3)
    assert score(None, [0.5, None, 0.1], 0.8) == pytest.approx((0 + 0.2 + 0.6) / 3)


def test_features_are_told_by_name_the_worst_first():
    """The standing model on a world where the first feature moves by 1 or 3, the second by -1 or 1, the third never."""
    before = torch.zeros(4, 3)
    after = torch.tensor([[1.0, -1, 0], [3, 1, 0], [1, -1, 0], [3, 1, 0]])
    nothing, reward = torch.zeros(4), torch.tensor([1.0, 3, 1, 3])
    data = Transitions.from_log(before, torch.zeros(4, 1), reward, after, nothing)
    statistics = Statistics.of(before, after, reward, nothing)
    rows = feature_errors(Standing(), data, before, after, ["a", "b", "still"], None, statistics)
    told = {row.name: row for row in rows}
    assert list(told) == ["a", "reward", "b"]
    assert told["a"].rmse == told["a"].persistence_rmse == pytest.approx(5**0.5)  # of a spread of 1
    assert told["a"].r2 == 0
    assert told["reward"].rmse == pytest.approx(5**0.5)  # says 0; the mean, 2, would err by 1
    assert told["reward"].r2 == pytest.approx(1 - 5)
    assert told["b"].linear_rmse is told["b"].linear_r2 is None


class Overconfident(Standing):
    """Knows the mean, believes in half the noise."""

    def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        return Prediction(state[None], torch.full_like(state, 0.5)[None], state[:, :0])


def noisy(rows: int) -> Transitions:
    state, nothing = torch.randn(rows, 2, generator=draws()), torch.zeros(rows)
    after = state + torch.randn(rows, 2, generator=draws(1))
    return Transitions.from_log(state, torch.zeros(rows, 1), nothing, after, nothing)


def test_recalibration_mends_on_episodes_that_it_did_not_see():
    data, episode = noisy(20_000), torch.arange(20_000) // 100
    found = reliability(Overconfident(), data, episode, ["x", "y"], draws())
    assert found.temperature == pytest.approx([2, 2], rel=0.03)
    at = LEVELS.index(0.9)
    assert found.coverage_before[at] == pytest.approx([0.589] * 2, abs=0.02)
    assert found.coverage_after[at] == pytest.approx([0.9] * 2, abs=0.015)
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    assert found.nll_after == pytest.approx([entropy] * 2, abs=0.02)
    assert found.nll_before == pytest.approx([entropy - 0.5 + 2 - np.log(2)] * 2, abs=0.05)
    assert found.steps_fitted == found.steps_judged == 10_000


def test_temperature_is_never_judged_where_it_was_fitted():
    """In one of two episodes the noise is ten times that of the other: fitted on one, the other shows it."""
    data, episode = noisy(2000), torch.arange(2000) // 1000
    loud = replace(
        data, next_state=torch.where(episode[:, None] == 1, 10 * data.next_state - 9 * data.state, data.next_state)
    )
    found = reliability(Overconfident(), loud, episode, ["x", "y"], draws())
    fitted_on_loud = found.temperature[0] > 10
    held = found.coverage_after[LEVELS.index(0.9)][0]
    assert (held > 0.99) if fitted_on_loud else (held < 0.2)


def test_what_has_no_intervals_says_why():
    one = reliability(Overconfident(), noisy(50), torch.zeros(50), ["x", "y"], draws())
    assert "one held-out episode" in one.skipped

    class Point(Standing):
        def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
            return Prediction(state[None], torch.zeros_like(state)[None], state[:, :0])

    assert "point" in reliability(Point(), noisy(50), torch.arange(50), ["x", "y"], draws()).skipped


def test_assessment_of_a_small_ensemble_is_complete(tmp_path: Path):
    dataset = write_dataset(tmp_path / "d", hidden_velocity(30), "line", 0.3, 0)
    torch.manual_seed(0)
    model = GaussianEnsemble(
        EnsembleConfig(members=3, elites=2, width=8, depth=1), transitions.build_data_spec(dataset)
    )
    penalties = fitted_penalties(transitions.encode_transitions(dataset, "train", model), 0)
    found = assess(model.eval().requires_grad_(False), dataset, penalties, 0)
    assert [row.name for row in found.errors.features] in (["state[0]", "reward"], ["reward", "state[0]"])
    assert found.reliability.outputs == ["state[0]", "reward"]
    again = assess(model, dataset, penalties, 0)
    assert again.errors == found.errors
    told = found.calibration
    told.save(tmp_path / "seed-0.json")
    assert Calibration.load(tmp_path / "seed-0.json") == told
    raw = found.samples["penalty_ensemble_std"].astype(float)
    scale = found.samples["true_error"].mean() / raw.mean()
    assert told.penalties["ensemble_std"].scale == pytest.approx(scale, rel=1e-5)
    assert told.penalties["ensemble_std"].quantiles["0.9"] == pytest.approx(np.quantile(scale * raw, 0.9), rel=1e-5)
    assert told.penalties[told.best_penalty].score == max(p.score for p in told.penalties.values())
    assert told.temperature is not None
    assert set(told.temperature) == {"state[0]", "reward"}


def test_an_untrained_model_loses_to_the_regression_in_a_linear_world():
    raw = linear_world(3000)
    model = small_ensemble(raw)
    data = transitions_of(raw, model.encoder)
    linear = LinearBaseline({k: raw[k] for k in ("obs", "next_obs", "action", "reward")}, model.data_spec.statistics)
    rows = feature_errors(
        model, data, raw["obs"], raw["next_obs"], ["x", "y", "still"], linear, model.data_spec.statistics
    )
    told = {row.name: row for row in rows}
    assert set(told) == {"x", "y", "reward"}
    noise = 0.1 / (raw["next_obs"] - raw["obs"])[:, 0].std().item()
    assert told["x"].linear_rmse == pytest.approx(noise, rel=0.1)
    assert told["x"].linear_r2 > 0.9 > told["x"].r2
