"""The ensemble against a world whose equations are known."""

import lightning.pytorch as pl
import pytest
import torch
from toys import NOISE, linear_world, small_ensemble, training_of, transitions_of

from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.protocols import WorldModel
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer
from pipeline.training.world_model import WorldModelTraining
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble
from pipeline.world_models.gaussian_losses import weighted


@pytest.fixture(scope="module")
def fitted() -> tuple[GaussianEnsemble, WorldModelTraining]:
    raw, unseen = linear_world(6000), linear_world(3000, seed=1)
    model = small_ensemble(raw)
    data = (transitions_of(raw, model.encoder), transitions_of(unseen, model.encoder))
    training = training_of(model, *data, FitConfig(max_epochs=25, patience=25))
    pl.seed_everything(0)
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 25, []).fit(training)
    return training.finish(), training


def test_is_a_world_model(fitted):
    assert isinstance(fitted[0], WorldModel)


def test_learns_the_mean_and_the_noise(fitted):
    model, _ = fitted
    data = transitions_of(linear_world(2000, seed=2), model.encoder)
    prediction = model.predict(data.state, data.action)
    scale = model.scale.target_std[:2] * model.encoder.std[:2]
    mean = (
        prediction.mean[model.elites].mean(0)[:, :2] * model.scale.target_std[:2] + model.scale.target_mean[:2]
    ) * model.encoder.std[:2]
    truth = -0.1 * (data.state * model.encoder.std + model.encoder.mean)[:, :2] + 0.5 * data.action
    assert (mean - truth).square().mean().sqrt() < 0.5 * NOISE
    noise = (prediction.std[model.elites].mean(0)[:, :2] * scale).mean(0)
    torch.testing.assert_close(noise, torch.full((2,), NOISE), rtol=0.25, atol=0.0)


def test_constant_feature_is_copied_and_not_predicted(fitted):
    model, _ = fitted
    data = transitions_of(linear_world(50, seed=3), model.encoder)
    prediction = model.predict(data.state, data.action)
    assert prediction.mean.shape[-1] == 2 + 1  # two that vary, and the reward
    step = model.draw(data.state, data.action, prediction, torch.Generator().manual_seed(0))
    torch.testing.assert_close(step.state[:, 2], data.state[:, 2])
    torch.testing.assert_close(model.decode(step.state)["state"][:, 2], torch.full((50,), 7.0))


def test_a_setting_is_copied_and_not_predicted():
    # entry 2 is drawn for each of 40 episodes of 100 steps and jumps once in the last; entry 1 rests now and then
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(4000, 3, generator=generator)
    following = obs + torch.randn(4000, 3, generator=generator)
    following[::2, 1] = obs[::2, 1]
    obs[:, 2] = torch.randn(40, generator=generator).repeat_interleave(100)
    following[:, 2] = obs[:, 2]
    following[-50, 2] += 1
    nothing = torch.zeros(4000)
    statistics = Statistics.of(obs, following, nothing, nothing)
    assert (statistics.active, statistics.settings, statistics.changing) == ([0, 1, 2], [2], [0, 1])
    model = GaussianEnsemble(EnsembleConfig(width=8, depth=1), DataSpec(statistics, {"state": [3]}, 1, 4000))
    state, action = model.encoder.encode(obs), torch.zeros(4000, 1)
    step = model.draw(state, action, model.predict(state, action), generator, None)
    assert step.sample.shape == (4000, 2 + 1)
    torch.testing.assert_close(step.state[:, 2], state[:, 2])


def test_termination_head_fires_where_it_should(fitted):
    from pipeline.world_models.termination import termination_quality

    quality = termination_quality(fitted[0], transitions_of(linear_world(4000, seed=4), fitted[0].encoder))
    assert quality.positives > 50
    assert quality.precision > 0.8
    assert quality.recall > 0.8


def test_elites_are_those_of_least_held_out_error(fitted):
    model, training = fitted
    best = training.best.scores["mse"]
    assert set(model.elites.tolist()) == set(best.argsort()[:2].tolist())
    again = training._held_out()["mse"]  # the weights put back are the ones that reached those errors
    torch.testing.assert_close(again, best)


@pytest.mark.parametrize(("asked", "last"), [(None, 1e-3), (False, 1e-3), (True, 0.5e-3)])
def test_the_learning_rate_decays_where_that_is_asked(asked: bool | None, last: float):
    """Half of a cosine is behind it in the second of two epochs; an ensemble's rate is constant by habit."""
    raw = linear_world(300)
    model = small_ensemble(raw)
    data = transitions_of(raw, model.encoder)
    training = training_of(model, data, data, FitConfig(max_epochs=2, learning_rate_decay=asked))
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 2, []).fit(training)
    assert training._raw_optimizer().param_groups[0]["lr"] == pytest.approx(last)


def test_the_geometric_criterion_is_not_outvoted_by_one_noisy_output():
    """The first learner knows one output a hundred times better; plain means would prefer the other."""
    raw = linear_world(200)
    model = small_ensemble(raw, criterion="geometric_mse")
    judged = model.validation_metrics({"output_mse": torch.tensor([[1.0, 1e-4], [0.9, 1e-2]])})
    torch.testing.assert_close(judged["geometric_mse"], torch.tensor([1e-2, 0.009**0.5]))
    assert model.checkpoint_groups()[0].criterion == "geometric_mse"
    sums = model.held_out(transitions_of(raw, model.encoder))
    torch.testing.assert_close(sums["output_mse"].mean(-1), sums["mse"])
    with pytest.raises(ValueError, match=r"criterion\n.*'mse' or 'geometric_mse'"):
        EnsembleConfig(criterion="nll")


def test_draw_is_reparameterized_and_stays_in_the_logged_range(fitted):
    model, _ = fitted
    state = torch.full((4, 3), 50.0)
    action = torch.zeros(4, 2, requires_grad=True)
    step = model.draw(state, action, model.predict(state, action), torch.Generator().manual_seed(0))
    assert (step.state <= model.scale.state_high + 1e-6).all()
    inside = torch.zeros(4, 3)
    model.draw(inside, action, model.predict(inside, action), torch.Generator().manual_seed(0)).state.sum().backward()
    assert action.grad is not None
    assert action.grad.abs().min() > 0


def test_members_disagree_away_from_the_logs(fitted):
    from pipeline.uncertainty.penalties import disagreement

    model, _ = fitted
    near, far, action = torch.zeros(64, 3), torch.full((64, 3), 12.0), torch.zeros(64, 2)

    def spread(state):
        prediction = model.predict(state, action)
        return disagreement(prediction, prediction.mean[0]).mean()

    assert spread(far) > 5 * spread(near)


def test_members_can_be_given_batches_of_their_own():
    raw = linear_world(100)
    model = small_ensemble(raw)
    data = transitions_of(raw, model.encoder)
    rows = torch.arange(30).reshape(3, 10)
    own = model.predict(data.state[rows], data.action[rows]).mean
    shared = model.predict(data.state[:30], data.action[:30]).mean
    for member in range(3):
        torch.testing.assert_close(own[member], shared[member, rows[member]])


def test_loss_is_the_gaussian_likelihood():
    raw = linear_world(64)
    model = small_ensemble(raw, termination="off", bound_weight=0.0)
    data = transitions_of(raw, model.encoder)
    rows = torch.arange(64).expand(3, 64)
    prediction = model.predict(data.state, data.action)
    likelihood = torch.distributions.Normal(prediction.mean, prediction.std).log_prob(model.targets(data))
    expected = (-2 * likelihood - torch.log(torch.tensor(2 * torch.pi))).mean((1, 2)).sum()
    torch.testing.assert_close(model.loss(data[rows])[0], expected)


def test_logs_without_terminals_have_no_head():
    raw = linear_world(100)
    raw["terminal"] = torch.zeros(100)
    assert small_ensemble(raw).termination_used() == "off: logs hold no terminal"


def test_beta_keeps_a_sure_output_from_drowning_the_others():
    error, log_variance = torch.tensor([1e-6, 1.0]), torch.log(torch.tensor([1e-6, 1.0])).requires_grad_()
    mean = error.sqrt().requires_grad_()
    nll = mean.square() * torch.exp(-log_variance) + log_variance
    for beta, expected in ((0.0, 2e3), (0.5, 2.0), (1.0, 2e-3)):
        (slope,) = torch.autograd.grad(weighted(nll, log_variance, beta).sum(), mean, retain_graph=True)
        torch.testing.assert_close(slope, torch.tensor([expected, 2.0]), rtol=1e-4, atol=0.0)
    assert weighted(nll, log_variance, 0.0) is nll
    with pytest.raises(ValueError, match="beta"):
        EnsembleConfig(beta=1.5)
