"""Bayesian world models: samples stay fixed, are drawn anew when asked, and disagree where the logs say nothing."""

import pytest
import torch
from toys import NOISE, build_data_spec, linear_world, training_of, transitions_of

from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.imagination import Imagination
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer
from pipeline.types import Transitions
from pipeline.uncertainty import Penalty
from pipeline.uncertainty.penalties import disagreement
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.bayesian import BayesianModel, DropoutConfig, VariationalConfig

NAMES = [name for name, kind in WORLD_MODELS.items() if issubclass(kind, BayesianModel)]


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(name: str, facts: DataSpec, **config: object) -> BayesianModel:
    torch.manual_seed(0)
    chosen = WORLD_MODELS[name]
    return chosen(chosen.Config(**{"width": 32, "depth": 2, "samples": 5, **config}), facts)


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> BayesianModel:
    # A small network with the usual rate often drops nothing, so its samples would be the same.
    return small(
        request.param, build_data_spec(linear_world(300)), **({"dropout": 0.2} if request.param == "mc_dropout" else {})
    )


def test_samples_stay_until_others_are_asked_for(model: BayesianModel):
    raw = linear_world(20)
    data = transitions_of(raw, model.encoder)
    first = model.predict(data.state, data.action)
    assert torch.equal(model.predict(data.state, data.action).mean, first.mean)
    others = [model.sample_members(draws(seed), 4) for seed in (1, 1, 2)]
    means = [other.predict(data.state, data.action).mean for other in others]
    assert torch.equal(means[0], means[1])  # the generator is the only randomness
    assert not torch.equal(means[0], means[2])
    assert means[0].shape[0] == len(others[0].elites) == 4
    assert model.sample_members(draws()).predict(data.state, data.action).mean.shape[0] == 5
    assert torch.equal(model.predict(data.state, data.action).mean, first.mean)  # who asked keeps its own
    distances = torch.cdist(means[0].flatten(1), means[0].flatten(1)) + torch.eye(4)
    assert distances.min() > 0  # every sample is another


def test_other_samples_share_what_is_learned(model: BayesianModel):
    other = model.sample_members(draws())
    assert {k: id(p) for k, p in other.named_parameters()} == {k: id(p) for k, p in model.named_parameters()}
    assert set(other.state_dict()) == set(model.state_dict())
    assert other.data_spec is model.data_spec


def test_a_rollout_keeps_its_samples_and_another_draws_others(model: BayesianModel):
    seen: list[torch.Tensor] = []
    still = torch.zeros(1, model.action_dim)

    def watching(model: BayesianModel, *told: torch.Tensor) -> torch.Tensor:
        seen.append(model.predict(torch.ones(1, 3), still).mean)
        return torch.zeros(len(told[-1]))

    generator, start = draws(), torch.zeros(4, 3)
    for _ in range(2):
        Imagination(model, watching).rollout(lambda s, t, g: still.expand(4, -1), start, 3, generator)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[3], seen[5])
    assert not torch.equal(seen[0], seen[3])


def test_gradient_flows_through_samples_to_the_action(model: BayesianModel):
    action = torch.zeros(4, 2, requires_grad=True)
    rollout = Imagination(model.requires_grad_(False), Penalty("disagreement")).rollout(
        lambda s, t, g: action, torch.ones(4, 3), 3, draws()
    )
    (rollout.reward - rollout.penalty).sum().backward()
    assert action.grad is not None
    assert action.grad.abs().min() > 0


def test_loss_is_twice_the_negative_evidence_bound_of_one_number():
    raw = linear_world(64)
    model = small("variational", build_data_spec(raw), termination="off", bound_weight=0.0, divergence_weight=0.5)
    data = transitions_of(raw, model.encoder)[torch.arange(64)[None]]
    loss, metrics = model.loss(data, draws())
    divergence = sum(layer.divergence() for layer in model.net.layers)
    numbers = 64 * 3  # transitions, each with two changes of state and a reward
    torch.testing.assert_close(loss, 2 * (metrics["nll"] + 0.5 * divergence / numbers))


def test_held_out_judges_the_mixture_of_samples(model: BayesianModel):
    data = transitions_of(linear_world(50), model.encoder)
    believed, sums = model.predict(data.state, data.action), model.held_out(data)
    error = believed.mean.mean(0) - model.targets(data)
    torch.testing.assert_close(sums["mse"], error.square().mean(-1).sum()[None].detach())
    total = believed.std.square().mean(0) + believed.mean.var(0, correction=0)
    likelihood = torch.distributions.Normal(believed.mean.mean(0), total.sqrt()).log_prob(model.targets(data))
    expected = -likelihood - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(sums["nll"], expected.mean(-1).sum()[None].detach())


@pytest.mark.parametrize("name", NAMES)
def test_learns_the_mean_and_the_noise_through_the_usual_shell(name: str):
    raw, unseen = linear_world(6000), linear_world(3000, seed=1)
    model = small(name, build_data_spec(raw))
    data = (transitions_of(raw, model.encoder), transitions_of(unseen, model.encoder))
    training = training_of(model, *data, FitConfig(max_epochs=25, patience=25))
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 25, []).fit(training)
    training.finish()
    torch.testing.assert_close(training._held_out()["mse"], training.best.scores["mse"])
    data = transitions_of(linear_world(2000, seed=2), model.encoder)
    prediction = model.predict(data.state, data.action)
    unit = model.scale.target_std[:2] * model.encoder.std[:2]
    mean = (
        prediction.mean.mean(0)[:, :2] * model.scale.target_std[:2] + model.scale.target_mean[:2]
    ) * model.encoder.std[:2]
    truth = -0.1 * (data.state * model.encoder.std + model.encoder.mean)[:, :2] + 0.5 * data.action
    assert (mean - truth).square().mean().sqrt() < 0.5 * NOISE
    noise = (prediction.std.mean(0)[:, :2] * unit).mean(0)
    torch.testing.assert_close(noise, torch.full((2,), NOISE), rtol=0.25, atol=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_samples_disagree_in_a_gap_of_the_logs(name: str):
    """Reward sin(2 x) was logged for x in [-1.2, 0.3] and [2, 2.3]; with one hidden layer neither would see the gap
    (Foong et al. 2020, arXiv:1909.00719)."""
    rows = 2000
    left, right = torch.rand(1600, 1, generator=draws()) * 1.5 - 1.2, torch.rand(400, 1, generator=draws(5)) * 0.3 + 2
    x, still, nothing = torch.cat([left, right]), torch.zeros(rows, 1), torch.zeros(rows)
    reward = (torch.sin(2 * x) + 0.05 * torch.randn(rows, 1, generator=draws(1))).squeeze(1)
    statistics = Statistics.of(x, x + 0.01 * torch.randn(rows, 1, generator=draws(2)), reward, nothing)
    model = small(name, DataSpec(statistics, {"x": [1]}, 1, rows), prior_scale=2.0, learning_rate=5e-3, samples=50)
    state = model.encoder.encode(x)
    data = Transitions.from_log(state, still, reward, state, nothing)
    optimizer, generator = model.optimizer(), draws(3)
    for _ in range(600):
        loss, _ = model.loss(data[torch.randint(rows, (1, 128), generator=generator)], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def spread(x: torch.Tensor) -> torch.Tensor:
        prediction = model.predict(model.encoder.encode(x), still[: len(x)])
        return disagreement(prediction, prediction.mean[0]).mean()

    assert spread(torch.linspace(0.8, 1.6, 50)[:, None]) > 1.5 * max(spread(left), spread(right))


def test_bad_settings_are_refused():
    for kind, settings, message in (
        (VariationalConfig, {"samples": 0}, "samples"),
        (VariationalConfig, {"prior_scale": 0.0}, "prior_scale"),
        (DropoutConfig, {"dropout": 0.0}, "dropout"),
        (DropoutConfig, {"termination": "never"}, "termination"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(**settings)
