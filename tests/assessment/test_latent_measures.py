"""Numbers about latents, on made-up beliefs whose answers are known and on small models."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from data_examples import counting_log
from test_rssm import SMALL, hidden_velocity, some_windows
from toys import WithoutInputs

from pipeline.assessment.latents import EXAMPLES, activity, examples, latent_report, principal
from pipeline.assessment.model_error import Scale
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.transitions import build_data_spec
from pipeline.data.windows import Windows
from pipeline.ingest.writer import write_dataset
from pipeline.types import Beliefs, Prediction, Segments, Step
from pipeline.world_models.rssm import RSSM, RSSMConfig

CONTEXT = 2


def rssm(dataset: PreparedDataset, **config: Any) -> RSSM:
    torch.manual_seed(0)
    return (
        RSSM(RSSMConfig(**{**SMALL, "image_depth": 4, **config}), build_data_spec(dataset)).eval().requires_grad_(False)
    )


def whole_windows(dataset: PreparedDataset, length: int) -> Segments:
    rows = dataset.windows("all", length)
    return Windows(dataset, "all", length).read(torch.from_numpy(np.stack([rows, np.full_like(rows, length)], 1)))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("line") / "d", hidden_velocity(12), "line", 0.2, 0)


def test_a_continuous_unit_is_measured_against_what_its_prior_expects():
    mode = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.2], [1.0, 5.0, 0.0], [3.0, 5.0, 0.2]])[..., None]
    variance = torch.tensor([4.0, 4.0, 0.0]).expand(4, 3)[..., None]
    # variances 1, 0 and 0.01 over 4, 4, and the one that stands for a point's
    torch.testing.assert_close(activity(mode, variance), torch.tensor([0.25, 0.0, 0.01]))


def test_a_categorical_unit_is_measured_by_the_classes_it_uses():
    hot = torch.eye(4)
    always, evenly, seldom = hot[[2, 2, 2, 2]], hot[[0, 1, 2, 3]], hot[[0, 0, 0, 3]]
    mode = torch.stack([always, evenly, seldom], dim=1)
    quarter = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    torch.testing.assert_close(activity(mode, torch.ones_like(mode)), torch.tensor([0.0, math.log(4), quarter]))


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    states = (rng.normal(size=(200, 4)) * [1.0, 5.0, 0.1, 3.0] @ rng.normal(size=(4, 4)) + 7).astype(np.float32)
    points, shares = principal(torch.from_numpy(states))
    variances, axes = np.linalg.eigh(np.cov(states.T.astype(np.float64), bias=True))
    np.testing.assert_allclose(shares, variances[:-3:-1] / variances.sum(), rtol=1e-4)
    for i in range(2):
        axis = axes[:, -1 - i] * np.sign(axes[np.abs(axes[:, -1 - i]).argmax(), -1 - i])
        np.testing.assert_allclose(points[:, i], (states - states.mean(0)) @ axis, rtol=1e-3, atol=1e-3)


def test_a_state_of_one_number_has_one_component():
    points, shares = principal(torch.tensor([[1.0], [3.0]]))
    assert points.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert shares.tolist() == [1.0, 0.0]


class Clockwork(WithoutInputs):
    """Filters without error, but decodes the first feature one standard deviation too high; in imagination the clock
    goes on by two at each step."""

    state_dim = 2

    def __init__(self, std: float) -> None:
        self.std = std

    def beliefs(self, windows: Segments) -> Beliefs:
        state = windows.obs["state"]
        frame = torch.arange(state.shape[1]).expand(state.shape[:2]).float()
        mode = state[..., None]
        return Beliefs(state, mode, torch.full_like(mode, 2.0), 2 * frame, -frame, frame + windows.reward[:, :1])

    def initial(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, 2)

    def observe(self, state: Any, action: Any, obs: Any, first: Any) -> torch.Tensor:
        return obs["state"]

    def predict(self, state: torch.Tensor, action: torch.Tensor) -> Prediction:
        return Prediction(state[None], torch.ones_like(state[None]), state[:, :0])

    def draw(self, state: Any, action: Any, prediction: Any, generator: Any, member: Any) -> Step:
        nothing = torch.zeros(len(state))
        return Step(state + torch.tensor([2.0, 0.0]), nothing, nothing + 1, nothing, state)

    def decode(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"state": state + torch.tensor([self.std, 0.0])}


def test_report_of_a_model_whose_every_number_is_known(tmp_path: Path):
    dataset = write_dataset(tmp_path / "d", counting_log((60, 31, 45)), "counting", 0.2, 0)
    statistics = build_data_spec(dataset).statistics
    model, windows = Clockwork(statistics.obs_std[0]), whole_windows(dataset, 30)
    batches = [windows[:40], windows[40:]]
    found = latent_report(model, batches, Scale({"state": [2]}, statistics), CONTEXT)
    assert len(windows) == 31 + 2 + 16
    np.testing.assert_allclose(found["reconstruction_rmse"], np.full(31, math.sqrt(0.5)), rtol=1e-4)
    assert found["kl"].tolist() == [2.0 * t for t in range(31)]
    assert found["posterior_entropy"].tolist() == [-1.0 * t for t in range(31)]
    np.testing.assert_allclose(found["prior_entropy"], np.arange(31) + windows.reward[:, 0].mean().item(), rtol=1e-5)
    states = windows.obs["state"][:, [3, 13, 23]].flatten(0, 1)
    order = np.argsort(found["reward"], kind="stable")
    expected = states[:, 0].sort()
    assert found["reward"][order].tolist() == (expected.values - 1).tolist()  # of the step into the state
    torch.testing.assert_close(torch.from_numpy(found["points"])[order], principal(states)[0][expected.indices])
    np.testing.assert_allclose(found["activity"], states.var(0, correction=0) / 2, rtol=1e-5)
    assert (found["context"], found["classes"], round(float(found["active_above"]), 6)) == (CONTEXT, 1, 0.01)
    true, said = found["true_state"], found["predicted_state"]
    assert true.shape == said.shape == (EXAMPLES, 31, 2)
    ahead = np.maximum(np.arange(31) - CONTEXT, 0)  # the clock goes wrong by one a step, once it goes on alone
    np.testing.assert_allclose(said[..., 0] - true[..., 0], np.tile(ahead + model.std, (3, 1)), rtol=1e-5)


@pytest.mark.parametrize("latent", ["gaussian", "categorical", "point"])
def test_beliefs_are_those_that_predict_and_learn(line: PreparedDataset, latent: str):
    model, windows = rssm(line, latent=latent, free_nats=0.0), whole_windows(line, 6)
    found = model.beliefs(windows)
    assert found.mode.shape[2:] == ((4, 4) if latent == "categorical" else (4, 1))
    torch.testing.assert_close(found.mode.flatten(2), found.state[..., -model.latent.dim :])
    for t in range(6):  # of frame t + 1, told by the state before it
        prediction = model.predict(found.state[:, t], windows.action[:, t])
        torch.testing.assert_close(found.prior_variance[:, t + 1].flatten(1), prediction.std.square().mean(0))
        torch.testing.assert_close(found.prior_entropy[:, t + 1], prediction.entropy().mean(0))
    torch.testing.assert_close(found.kl.sum(), model.held_out(windows)["dynamics_kl"])


def test_entropy_of_a_posterior_is_torchs_own(line: PreparedDataset):
    model, windows = rssm(line), some_windows(line)
    mean, std = model.latent.moments(model.filter_window(windows, None).posterior)  # type: ignore[attr-defined]
    expected = torch.distributions.Normal(mean, std).entropy().sum(-1)
    torch.testing.assert_close(model.beliefs(windows).posterior_entropy, expected)


def test_points_have_no_entropy_to_report(line: PreparedDataset):
    windows, scale = whole_windows(line, 6), Scale({"state": [1]}, build_data_spec(line).statistics)
    kinds = {kind: latent_report(rssm(line, latent=kind), [windows], scale, CONTEXT) for kind in ("gaussian", "point")}
    assert {*kinds["gaussian"]} - {*kinds["point"]} == {"posterior_entropy", "prior_entropy"}
    assert np.isfinite(kinds["point"]["activity"]).all()


def dial_log(episodes: int = 4, steps: int = 9) -> LoggedData:
    """Brightness of a frame is 20 times its step."""
    frames = np.broadcast_to((20 * np.arange(steps + 1))[:, None, None, None], (steps + 1, 32, 32, 1)).astype(np.uint8)
    action = np.linspace(-1, 1, steps, dtype=np.float32)[:, None]
    reward = np.arange(steps, dtype=np.float32)
    logged = [Episode({"camera": frames}, action, reward + e, False) for e in range(episodes)]
    return LoggedData("dial", "npz", logged, action_low=[-1.0], action_high=[1.0])


def test_images_are_shown_as_seen_then_as_imagined(tmp_path: Path):
    dataset = write_dataset(tmp_path / "d", dial_log(), "dial", 0.3, 0)
    model, windows = rssm(dataset, latent="categorical"), whole_windows(dataset, 9)[:2]
    found = examples(model, windows, CONTEXT, Scale(dataset.spec.obs_shapes, model.data_spec.statistics))
    true, said = found["true_camera"], found["predicted_camera"]
    assert (said.dtype, said.shape) == (np.uint8, (2, 10, 32, 32, 1))
    assert true[0, :, 5, 5, 0].tolist() == list(range(0, 200, 20))
    state = model.filter_window(windows, None).state[:, CONTEXT]
    for t in range(CONTEXT, 10):
        np.testing.assert_array_equal(said[:, t], model.decode(state)["camera"].round().byte())
        if t < 9:
            action = windows.action[:, t]
            state = model.draw(state, action, model.predict(state, action), None).state
    scale = Scale(dataset.spec.obs_shapes, model.data_spec.statistics)
    report = latent_report(model, [windows], scale, CONTEXT)
    expected = model.decode(model.beliefs(windows).state[:, 4])["camera"] / 255 - 80 / 255
    assert report["reconstruction_rmse"][4] == pytest.approx(expected.square().mean().sqrt().item(), rel=1e-4)
    assert (report["classes"], round(float(report["active_above"]), 6)) == (4, 0.1)


def test_only_a_model_that_remembers_has_latents_to_report(line: PreparedDataset, tmp_path: Path, monkeypatch: Any):
    from contextlib import contextmanager

    from pipeline.stages import assess_world_model as stage
    from pipeline.world_models.checkpoint import save_world_model
    from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

    def output(path: str) -> Path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path)

    @contextmanager
    def tracked(name: str, seed: int) -> Any:
        nothing = lambda *_, **__: None  # noqa: E731
        params = {"trainer": {"accelerator": "cpu"}, "assessment": {}}
        made = {"output": output, "publish": nothing}
        yield SimpleNamespace(params=params, log_metrics=nothing, log_dataset=nothing, print=nothing, **made)

    monkeypatch.setattr(stage, "stage", tracked)
    monkeypatch.chdir(tmp_path)
    write_dataset(Path("data/dataset"), hidden_velocity(12), "line", 0.2, 0)
    ensemble = GaussianEnsemble(EnsembleConfig(members=2, elites=1, width=8, depth=1), build_data_spec(line))
    for seed, model in enumerate((rssm(line), ensemble)):
        save_world_model(Path(f"data/world_model/seed-{seed}"), model, {})
        stage.main(seed)
    found = {seed: {p.name for p in Path(f"data/calibration/seed-{seed}").iterdir()} for seed in (0, 1)}
    assert found[0] - found[1] == {"latents.npz"}
