"""The last few steps as part of the state: which row ends up in which slot, and what models make of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_frame_stack import bars  # noqa: F401
from toys import hidden_velocity, rewrite, training_of

from pipeline.assessment.model_error import encode_context
from pipeline.data import transitions
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.transitions import encode_transitions
from pipeline.encoders.history import HistoryConfig, HistoryEncoder, vector_encoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.imagination import Imagination
from pipeline.ingest.writer import write_dataset
from pipeline.ope.evaluated_policy import alike
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.planning import PLANNERS
from pipeline.protocols import WindowEncoder, WorldModel, first_state
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import bundle_spec, encoder_spec, save_bundle
from pipeline.training.baseline import encoded_logs
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer
from pipeline.types import Segments, Transitions
from pipeline.uncertainty import Penalty
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import load_world_model, save_world_model
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

LENGTHS, NOISE = (3, 1, 6, 2, 4), 0.1
GAUSSIAN = ("gaussian_ensemble", "variational", "mc_dropout")
SMALL: dict[str, Any] = {"members": 3, "elites": 2, "width": 32, "depth": 2}


def stored(episodes: list[Episode], folder: Path, held_out: float = 0.2) -> PreparedDataset:
    log = LoggedData(place="toy", source="npz", episodes=episodes, action_low=[-1.0], action_high=[1.0])
    return write_dataset(folder, log, "toy", held_out, 0)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Row t of episode e: feature 0 is (e + 1) t^2, 1 never varies, 2 is e; the action is (10 e + t + 1) / 100."""
    episodes = []
    for e, length in enumerate(LENGTHS):
        t = np.arange(length + 1, dtype=np.float32)
        state = np.stack([(e + 1) * t**2, 0 * t + 7, 0 * t + e], axis=1)
        episodes.append(Episode({"state": state}, (10 * e + t[:-1, None] + 1) / 100, t[1:], False))
    return stored(episodes, tmp_path_factory.mktemp("counted") / "d")


def expected_state(dataset: PreparedDataset, row: int, history: int) -> list[float]:
    """In raw units, from the definition: the present, then action and change of feature 0 of each step before."""
    e = int(dataset.obs["state"][row, 2])
    t = row - int(dataset.offsets[e])
    state = [(e + 1.0) * t**2, 7.0, float(e)]
    for lag in range(1, history + 1):
        before = t - lag
        state += [(10 * e + before + 1) / 100, (e + 1.0) * (2 * before + 1)] if before >= 0 else [0.0, 0.0]
    return state


def raw(state: torch.Tensor, encoder: HistoryEncoder) -> torch.Tensor:
    """In raw units: the present as it is decoded, changes of feature 0 by their spread."""
    change = encoder.standard.std[0] * encoder.scale[0]
    pairs = state[:, 3:] * torch.stack([torch.tensor(1.0), change]).repeat(encoder.config.history)
    return torch.cat([encoder.decode(state)["state"], pairs], dim=-1)


@pytest.mark.parametrize("history", [1, 2, 5, 9])
def test_every_slot_holds_the_row_it_should_and_none_of_another_episode(counted: PreparedDataset, history: int):
    facts = transitions.build_data_spec(counted)
    assert facts.statistics.changing == [0]
    encoder = HistoryEncoder(HistoryConfig(history), facts.obs_shapes, facts.statistics, 1)
    for split in ("train", "held_out", "all"):
        steps, rows = encode_transitions(counted, split, encoder), counted.steps(split)
        for found, at in ((steps.state, rows), (steps.next_state, rows + 1)):
            truth = torch.tensor([expected_state(counted, row, history) for row in at], dtype=torch.float32)
            torch.testing.assert_close(raw(found, encoder), truth, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_step_by_step_equals_all_at_once(counted: PreparedDataset, name: str):
    chosen = WORLD_MODELS[name]
    model = chosen(chosen.Config(width=8, depth=1, history=4), transitions.build_data_spec(counted))
    assert isinstance(model, WorldModel)
    assert isinstance(model.actor_encoder(), WindowEncoder)
    at_once, slowly = {}, {}
    for rows, states in transitions.iter_states(counted, "all", model):
        at_once |= dict(zip(rows.tolist(), states, strict=True))
    order = np.argsort(-np.diff(counted.offsets), kind="stable")
    for rows, states in transitions._iter_episodes(
        counted, counted.offsets[order], counted.offsets[order + 1], model, "cpu"
    ):
        slowly |= dict(zip(rows.tolist(), states, strict=True))
    assert at_once.keys() == slowly.keys() == set(range(len(counted.action)))
    assert all(torch.equal(at_once[row], slowly[row]) for row in slowly)


def test_an_episode_starts_without_a_past(counted: PreparedDataset):
    data = transitions.build_data_spec(counted)
    encoder = HistoryEncoder(HistoryConfig(3), data.obs_shapes, data.statistics, 1)
    obs = torch.tensor([[5.0, 1.0, 2.0], [7.0, 1.0, 2.0]])
    state = first_state(encoder, {"state": obs}, 1)
    assert torch.equal(encoder.decode(state)["state"][:, 0], obs[:, 0])
    assert not state[:, encoder.current_dim :].any()


def test_real_steps_before_an_open_loop_fill_the_history(counted: PreparedDataset):
    facts = transitions.build_data_spec(counted)
    encoder = HistoryEncoder(HistoryConfig(3), facts.obs_shapes, facts.statistics, 1)
    first = counted.offsets[2]  # of the longest episode
    rows = torch.arange(first, first + 6)[None]
    obs = {"state": torch.from_numpy(counted.obs["state"])[torch.arange(first, first + 7)[None]]}
    nothing = torch.zeros(1, 6)
    action = torch.from_numpy(counted.action[rows.numpy()])
    state = encode_context(encoder, Segments(action, nothing, nothing, nothing + 1, obs), 5)
    truth = torch.tensor([expected_state(counted, int(first) + 5, 3)])
    torch.testing.assert_close(raw(state, encoder), truth, rtol=1e-5, atol=1e-4)


def test_an_imagined_step_shifts_the_history(counted: PreparedDataset):
    model = GaussianEnsemble(EnsembleConfig(**SMALL, history=2), transitions.build_data_spec(counted))
    state, action = encode_transitions(counted, "train", model).state, torch.tensor([[0.25]])
    action = action.expand(len(state), 1)
    prediction = model.predict(state, action)
    assert prediction.mean.shape[-1] == 1 + 1  # the feature that changes, and the reward
    step = model.draw(state, action, prediction, torch.Generator().manual_seed(0))
    present, newest, older = step.state.split([3, 2, 2], dim=-1)
    change = (present - state[:, :3])[:, 0] / model.encoder.scale
    assert torch.equal(newest, torch.stack([action[:, 0], change], dim=-1))
    assert torch.equal(older, state[:, 3:5])
    assert torch.equal(present[:, 1:], state[:, 1:3])
    assert not torch.equal(present[:, 0], state[:, 0])
    flat = present * model.encoder.standard.std + model.encoder.standard.mean
    torch.testing.assert_close(model.decode(step.state)["state"], flat)
    far = model.draw(state + 100, action, prediction, torch.Generator().manual_seed(0)).state
    torch.testing.assert_close(far[:, :3], model.scale.state_high.expand(len(state), 3))  # the present is clamped
    assert torch.equal(far[:, 5:], state[:, 3:5] + 100)  # what was is not


def fit(dataset: PreparedDataset, history: int, epochs: int) -> GaussianEnsemble:
    torch.manual_seed(0)
    model = GaussianEnsemble(
        EnsembleConfig(**SMALL, history=history, learning_rate=3e-3), transitions.build_data_spec(dataset)
    )
    data = (encode_transitions(dataset, split, model) for split in ("train", "held_out"))
    training = training_of(model, *data, FitConfig(batch_size=128, max_epochs=epochs, patience=epochs))
    pl.seed_everything(0)
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), epochs, []).fit(training)
    return training.finish()


@torch.no_grad()
def error(model: GaussianEnsemble, dataset: PreparedDataset, past: int) -> float:
    """Root mean square, in raw units, of the first feature one step on, on held-out rows with ``past`` steps behind."""
    data, rows = encode_transitions(dataset, "held_out", model), dataset.steps("held_out")
    started = dataset.offsets[np.searchsorted(dataset.offsets, rows, side="right") - 1]
    data = data[torch.from_numpy(rows - started >= past)]
    step = model.draw(data.state, data.action, model.predict(data.state, data.action), None)
    return float((model.decode(step.state)["state"] - model.decode(data.next_state)["state"]).square().mean().sqrt())


def delayed(episodes: int, steps: int = 20) -> list[Episode]:
    """x' = x + 0.5 a_{t-2} + noise: what is done now acts at the third step."""
    rng, logged = np.random.default_rng(0), []
    for _ in range(episodes):
        action = rng.uniform(-1, 1, (steps, 1)).astype(np.float32)
        late = np.concatenate([np.zeros((2, 1)), action[:-2]])
        change = 0.5 * late + NOISE * rng.normal(size=(steps, 1))
        x = np.concatenate([rng.normal(size=(1, 1)), change]).cumsum(0).astype(np.float32)
        logged.append(Episode({"state": x}, action, x[1:, 0], False))
    return logged


@pytest.mark.parametrize(
    ("episodes", "history", "past", "solved"),
    [
        (lambda: delayed(250), 2, 2, lambda with_it, without: with_it < 1.1 * NOISE and without > 2.5 * NOISE),
        (lambda: hidden_velocity(250).episodes, 1, 1, lambda with_it, without: with_it < 0.2 * without),
    ],
    ids=["delayed action", "hidden velocity"],
)
def test_history_recovers_what_one_observation_leaves_open(
    episodes: Callable[[], Any], history: int, past: int, solved: Callable[[float, float], bool], tmp_path: Path
):
    dataset = stored(list(episodes()), tmp_path / "d")
    errors = [error(fit(dataset, k, 25), dataset, past) for k in (history, 0)]
    assert solved(*errors), errors


def cloned(dataset: PreparedDataset, history: int) -> tuple[BehaviorCloning, Any, Transitions]:
    torch.manual_seed(0)
    facts = transitions.build_data_spec(dataset)
    encoder, replay = encoded_logs(dataset, facts, history)
    learner = BehaviorCloning(BCConfig(hidden=[8], history=history), LearnerSpec(encoder.state_dim, 1))
    return learner, encoder, replay.steps if hasattr(replay, "steps") else encode_transitions(dataset, "train", encoder)


def test_a_bundle_carries_its_history(counted: PreparedDataset, tmp_path: Path):
    learner, encoder, _ = cloned(counted, 2)
    facts = bundle_spec(
        "bc", learner.config, counted, transitions.build_data_spec(counted), 0, [], **encoder_spec(encoder)
    )
    assert (facts.encoder, facts.encoder_config) == ("history", {"history": 2})
    save_bundle(tmp_path, learner, encoder, facts, {"rows": []}, "# card\n")
    agent = load_agent(tmp_path)
    assert agent.stateful
    rows = counted.offsets[2] + np.arange(6)
    obs, done = counted.obs["state"][rows], []
    agent.reset(1)
    state, action = encoder.initial(1), torch.zeros(1, 1)
    for t in range(len(rows)):
        done.append(agent.act(obs[t : t + 1]))
        state = encoder.observe(
            state, action, {"state": torch.from_numpy(obs[t : t + 1])}, torch.tensor([float(t == 0)])
        )
        action = learner.act(state, None).detach()
        np.testing.assert_allclose(done[-1], action.numpy(), rtol=1e-5)
    after = agent.act_after({"state": obs[None]}, np.stack(done[:-1], axis=1))
    np.testing.assert_allclose(after, done[-1], rtol=1e-4)
    described = json.loads((tmp_path / "bundle.json").read_text())
    described["encoder_config"] = {"history": 0}
    rewrite(tmp_path / "bundle.json", **described)
    with pytest.raises(ValueError, match=r"`encoder_config`: `history`: 0 must be at least 1"):
        load_agent(tmp_path)


def test_a_planner_remembers_as_its_model_does(counted: PreparedDataset, tmp_path: Path):
    model = GaussianEnsemble(EnsembleConfig(**SMALL, history=2), transitions.build_data_spec(counted))
    chosen = PLANNERS["cem"]
    config = chosen.Config(horizon=2, population=8, elites=2, iterations=1)
    solver = chosen(config, LearnerSpec(model.state_dim, 1), imagination=Imagination(model, Penalty("ensemble_std")))
    own = encoder_spec(model) | {"penalty": {"name": "ensemble_std", "weight": 1.0}}
    facts = bundle_spec("cem", config, counted, model.data_spec, 0, [], **own)
    save_bundle(tmp_path, solver, model, facts, {}, "# card\n")
    agent = load_agent(tmp_path)
    assert agent.stateful
    assert agent.encoder.state_dim == model.state_dim == 3 + 2 * 2
    assert agent.act(counted.obs["state"][:1]).shape == (1, 1)


def test_without_history_all_is_as_it_was(counted: PreparedDataset, tmp_path: Path):
    facts = transitions.build_data_spec(counted)
    models = []
    for settings in ({}, {"history": 0}):
        torch.manual_seed(0)
        models.append(GaussianEnsemble(EnsembleConfig(**SMALL, **settings), facts))
    assert type(models[0].actor_encoder()) is StandardEncoder
    assert not models[0].stateful
    save_world_model(tmp_path, models[0], {})
    described = json.loads((tmp_path / "model.json").read_text())
    assert described["config"].pop("history") == 0
    described.pop("sha256"), described.pop("weights_sha256")
    (tmp_path / "model.json").write_text(json.dumps(described))  # as models were saved that had no history and digests
    loaded = load_world_model(tmp_path)
    weights = load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in models[1].state_dict().items())
    data = encode_transitions(counted, "train", loaded)
    plain = encode_transitions(counted, "train", StandardEncoder(facts.obs_shapes, facts.statistics))
    assert torch.equal(data.state, plain.state)
    drawn = []
    for model in (models[1], loaded):
        prediction = model.predict(data.state, data.action)
        drawn.append(model.draw(data.state, data.action, prediction, torch.Generator().manual_seed(3), None))
    assert torch.equal(drawn[0].state, drawn[1].state)
    present, _ = loaded.scale.advance(data.state, drawn[1].sample)
    assert torch.equal(drawn[1].state, present)


def test_filters_of_different_length_are_not_alike(counted: PreparedDataset):
    facts = transitions.build_data_spec(counted)
    one, two, same = (vector_encoder(k, facts.obs_shapes, facts.statistics, 1) for k in (1, 2, 1))
    assert alike(one, same)
    assert not alike(one, two)


def test_mistakes_are_named(bars: PreparedDataset):  # noqa: F811
    for config in (EnsembleConfig, BCConfig, WORLD_MODELS["variational"].Config):
        with pytest.raises(ValueError, match=r"history\n.*greater than or equal to 0"):
            config(history=-1)
    with pytest.raises(ValueError, match=r"images are stacked, and a baseline's `history`"):
        encoded_logs(bars, transitions.build_data_spec(bars), history=1)
