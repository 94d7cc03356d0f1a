"""Exogenous inputs and flagged values in world models and imagination: given, never predicted, never counted."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.assessment.model_error import Scale, one_step, replay
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.futures import LoggedFutures, logged_futures
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.data.windows import Windows
from pipeline.encoders.statistics import Statistics
from pipeline.imagination import Imagination
from pipeline.ingest.writer import write_dataset
from pipeline.seeding import generator
from pipeline.uncertainty import Penalty
from pipeline.validation import from_json
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble
from pipeline.world_models.protocols import TrainableWorldModel
from pipeline.world_models.rssm import RSSM, RSSMConfig

LENGTHS = (6, 9, 7, 8)
NAMES = ["room", "weather", "lab", "lab measured"]
ROOM, WEATHER, LAB, FLAG = range(4)


def logged() -> LoggedData:
    """The room follows action and weather; the lab value doubles the room and is measured at every third row."""
    rng = np.random.default_rng(0)
    episodes = []
    for steps in LENGTHS:
        weather, action = rng.normal(size=steps + 1), rng.uniform(-1, 1, steps)
        room = np.concatenate([[0.0], np.cumsum(action + 0.5 * weather[:-1])])
        measured = np.arange(steps + 1) % 3 == 0
        lab = (2 * room)[np.arange(steps + 1) // 3 * 3]
        obs = np.stack([room, weather, lab, measured], axis=1)
        episodes.append(Episode({"state": obs}, action[:, None], -np.abs(room[1:]), False))
    roles = {"exogenous": ["weather", "lab measured"], "flags": {"lab": "lab measured"}}
    return LoggedData("log", "test", episodes, obs_names={"state": NAMES}, **roles)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(Path(tmp_path_factory.mktemp("log")) / "d", logged(), "log", 0.3, 0)


def model_of(dataset: PreparedDataset, kind: str) -> TrainableWorldModel:
    torch.manual_seed(0)
    spec = build_data_spec(dataset)
    if kind == "rssm":
        model: TrainableWorldModel = RSSM(RSSMConfig(deter=8, stoch=4, width=8, members=2), spec)
    else:
        history = 2 if kind == "history" else 0
        config = EnsembleConfig(members=3, elites=2, width=8, depth=1, history=history)
        model = GaussianEnsemble(config, spec)
    return model.eval()


KINDS = ("markov", "history", "rssm")


def still(state: torch.Tensor, t: int, draws: torch.Generator | None) -> torch.Tensor:
    return torch.zeros(len(state), 1)


def test_statistics_count_what_was_measured(dataset: PreparedDataset):
    statistics = build_data_spec(dataset).statistics
    assert (statistics.exogenous, statistics.flags) == ([WEATHER, FLAG], {LAB: FLAG})
    assert statistics.changing == [ROOM, LAB]
    rows = dataset.steps("train")
    obs = np.asarray(dataset.obs["state"], np.float64)
    change = (obs[rows + 1, LAB] - obs[rows, LAB])[obs[rows + 1, FLAG] == 1] / statistics.obs_std[LAB]
    assert statistics.delta_mean[1] == pytest.approx(change.mean())
    assert statistics.delta_std[1] == pytest.approx(change.std())


def test_statistics_survive_as_json(dataset: PreparedDataset):
    statistics = build_data_spec(dataset).statistics
    assert from_json(Statistics, json.loads(json.dumps(asdict(statistics)))) == statistics


def test_futures_are_the_rows_that_follow(dataset: PreparedDataset):
    futures = LoggedFutures(dataset, build_data_spec(dataset).statistics)
    last = int(dataset.offsets[1]) - 1
    future = futures.after(torch.tensor([0, last - 2]), 3)
    weather = future.inputs[..., 0] * futures.exogenous.std[0] + futures.exogenous.mean[0]
    obs = torch.from_numpy(np.array(dataset.obs["state"]))
    torch.testing.assert_close(weather[0], obs[1:4, WEATHER])
    torch.testing.assert_close(weather[1], obs[[last - 1, last, last], WEATHER])
    assert future.present.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_a_log_without_exogenous_features_has_no_future(dataset: PreparedDataset):
    assert logged_futures(dataset, replace(build_data_spec(dataset).statistics, exogenous=[])) is None


@pytest.mark.parametrize("kind", KINDS)
def test_imagination_replays_the_log_and_ends_with_it(dataset: PreparedDataset, kind: str):
    model = model_of(dataset, kind)
    statistics = model.data_spec.statistics
    steps = encode_transitions(dataset, "all", model)
    imagination = Imagination(model, Penalty("disagreement"), logged_futures(dataset, statistics))
    future = imagination.future(steps.row, 4)
    with torch.no_grad():
        rollout = imagination.rollout(still, steps.state, 4, generator(0, "test"), future=future)
    obs = torch.from_numpy(np.array(dataset.obs["state"]))
    end = (
        torch.from_numpy(dataset.offsets)[1:][
            torch.searchsorted(torch.from_numpy(dataset.offsets)[1:], steps.row, right=True)
        ]
        - 1
    )
    for t in range(5):
        there = steps.row + t <= end
        seen = model.decode(rollout.state[:, t])["state"][there]
        torch.testing.assert_close(
            seen[:, [WEATHER, FLAG]], obs[steps.row[there] + t][:, [WEATHER, FLAG]], atol=1e-4, rtol=0
        )
        if t < 4:
            assert torch.equal(rollout.alive[:, t].bool(), steps.row + t < end)
        if t < 3:  # the return bootstraps from the value of the last row that the log has
            assert torch.equal(rollout.last[:, t].bool(), steps.row + t + 1 == end)
    assert rollout.terminal.sum() == rollout.halted.sum() == 0


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_value_that_is_not_measured_is_held_with_certainty(dataset: PreparedDataset, kind: str):
    model = model_of(dataset, kind)
    steps = encode_transitions(dataset, "all", model)
    prediction = model.predict(steps.state, steps.action)
    step = model.draw(steps.state, steps.action, prediction, generator(0, "test"), None)
    certain, step = model.condition(steps.state, steps.action, prediction, step, model.inputs(steps.next_state))
    before, after = (model.decode(state)["state"] for state in (steps.state, step.state))
    measured = model.decode(steps.next_state)["state"][:, FLAG] > 0.5
    torch.testing.assert_close(after[~measured, LAB], before[~measured, LAB], atol=1e-4, rtol=0)
    assert (after[measured, LAB] != before[measured, LAB]).all()
    assert certain.mean[:, ~measured, 1].std(0).max() < 1e-6
    assert certain.std[:, ~measured, 1].max() < 1e-3
    torch.testing.assert_close(certain.mean[..., 0], prediction.mean[..., 0])
    torch.testing.assert_close(certain.mean[:, measured], prediction.mean[:, measured])


@pytest.mark.parametrize("kind", KINDS[:2])
def test_no_loss_depends_on_values_that_were_not_measured(dataset: PreparedDataset, kind: str):
    model = model_of(dataset, kind)
    steps = encode_transitions(dataset, "all", model)
    held = model.inputs(steps.next_state)[:, 1] < model.inputs(steps.next_state)[:, 1].max()
    other = steps.next_state.clone()
    other[held, LAB] += 7.0
    changed = replace(steps, next_state=other)
    for batch in (steps, changed):
        assert model.measured(batch).mean(0).tolist() == pytest.approx([1, float((~held).float().mean()), 1])
    three = lambda batch: batch.map(lambda x: x.expand(3, *x.shape))  # noqa: E731
    assert model.loss(three(changed))[0].item() == pytest.approx(model.loss(three(steps))[0].item())
    for name, value in model.held_out(steps).items():
        torch.testing.assert_close(model.held_out(changed)[name], value)
    errors = [one_step(model, batch, {}, generator(0, "test"))["true_error"] for batch in (steps, changed)]
    np.testing.assert_allclose(*errors)


def test_a_recurrent_model_reconstructs_measured_values_alone(dataset: PreparedDataset):
    model = model_of(dataset, "rssm")
    windows = Windows(dataset, "train", 5).read(torch.tensor([[0, 5]]))
    state = model.filter_window(windows, None).state
    loss = model.decoder.loss(state, windows.obs)
    obs = windows.obs["state"].clone()
    obs[..., LAB] += 9.0 * (obs[..., FLAG] < 0.5)
    torch.testing.assert_close(model.decoder.loss(state, {"state": obs}), loss)
    torch.testing.assert_close(model.decode(state[0])["state"][:, WEATHER], windows.obs["state"][0, :, WEATHER])


@pytest.mark.parametrize("kind", KINDS)
def test_errors_leave_out_what_is_given(dataset: PreparedDataset, kind: str):
    model = model_of(dataset, kind)
    scale = Scale(dataset.spec.obs_shapes, model.data_spec.statistics)
    windows = Windows(dataset, "train", 5).read(torch.tensor([[0, 5]]))
    assert scale(windows.obs).shape[-1] == 2  # room and lab
    rollout = replay(model, windows, 1, scale)
    decoded = model.decode(rollout.state[0])["state"]
    torch.testing.assert_close(decoded[:, WEATHER], windows.obs["state"][0, 1:, WEATHER], atol=1e-4, rtol=0)


def test_a_history_holds_the_changes_of_exogenous_features(dataset: PreparedDataset):
    model = model_of(dataset, "history")
    steps = encode_transitions(dataset, "all", model)
    obs = torch.from_numpy(np.array(dataset.obs["state"]))
    second = steps.state[1]  # of the first episode
    weather = model.encoder.current_dim + model.action_dim + 2  # after the changes of room and lab
    scale = torch.tensor(model.data_spec.statistics.exogenous_delta_std[0]) * model.encoder.standard.std[WEATHER]
    assert second[weather].item() == pytest.approx(((obs[1] - obs[0])[WEATHER] / scale).item(), rel=1e-4)
