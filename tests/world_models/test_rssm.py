"""The recurrent state-space model on worlds whose answers are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import hidden_velocity

from pipeline.assessment.model_error import Scale
from pipeline.assessment.open_loop import open_loop
from pipeline.data.batches import WindowBatches
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.data.windows import Windows
from pipeline.imagination import Imagination
from pipeline.ingest.writer import write_dataset
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer
from pipeline.training.world_model import WorldModelTraining
from pipeline.types import Segments, Shard
from pipeline.world_models.rssm import RSSM, RSSMConfig
from pipeline.world_models.termination import termination_quality

SMALL = {"deter": 24, "stoch": 4, "classes": 4, "width": 24, "members": 3}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("line") / "dataset", hidden_velocity(300), "line", 0.2, 0)


def model_of(dataset: PreparedDataset, **config: Any) -> RSSM:
    torch.manual_seed(0)
    return RSSM(RSSMConfig(**{**SMALL, **config}), build_data_spec(dataset))


def training_of(model: RSSM, dataset: PreparedDataset, epochs: int) -> WorldModelTraining:
    config = FitConfig(batch_size=192, window=12, max_epochs=epochs, patience=epochs)
    train, held_out = (Windows(dataset, split, config.window) for split in ("train", "held_out"))
    return WorldModelTraining(model, WindowBatches(train, held_out, config.windows, 500, seed=0), config, seed=0)


def some_windows(dataset: PreparedDataset, count: int = 6) -> Segments:
    windows = Windows(dataset, "train", 12)
    return windows.read(windows.draw(count, torch.Generator().manual_seed(0)))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def fitted(line: PreparedDataset) -> RSSM:
    training = training_of(model_of(line, learning_rate=5e-3, vector_std=0.3), line, 40)
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 40, []).fit(training)
    return training.finish().eval().requires_grad_(False)


def test_sees_the_velocity_that_no_single_observation_shows(fitted: RSSM, line: PreparedDataset):
    rows = line.windows("held_out", 12)
    window = Windows(line, "held_out", 12).read(torch.from_numpy(np.stack([rows, np.full_like(rows, 12)], 1)))
    errors = open_loop(fitted, [window], Scale({"state": [1]}, fitted.data_spec.statistics), 6)
    assert errors.model_rmse[2] < 0.5 * errors.persistence_rmse[2]  # five steps on
    assert errors.reward_mae[0] < 0.5 * errors.reward_baseline_mae[0]


def test_termination_is_learned(fitted: RSSM, line: PreparedDataset):
    quality = termination_quality(fitted, encode_transitions(line, "held_out", fitted))
    assert quality.positives > 10
    assert quality.precision > 0.7
    assert quality.recall > 0.7


def test_an_end_is_told_by_what_is_decoded(fitted: RSSM, line: PreparedDataset):
    logged = encode_transitions(line, "held_out", fitted)
    before, after = (fitted.observations.normalized(fitted.decode(s)) for s in (logged.state, logged.next_state))
    logit = fitted.termination.net(torch.cat([before, logged.action, after], dim=1)).squeeze(1)
    said = fitted.termination.continue_prob(logged.state, logged.action, logged.next_state)
    torch.testing.assert_close(said, torch.sigmoid(-logit - fitted.termination.offset))
    assert said.min() < 0.1 < 0.9 < said.max()


def test_the_known_rule_is_one_of_vectors(line: PreparedDataset):
    facts = build_data_spec(line)
    images = replace(facts, obs_shapes={"view": [32, 32, 3]}, task="Hopper-v5",
                     statistics=replace(facts.statistics, obs_mean=[], obs_std=[], active=[]))  # fmt: skip
    with pytest.raises(ValueError, match="a rule for vectors, and these logs hold images alone; use `learned`"):
        RSSM(RSSMConfig(**SMALL, termination="known"), images)


def test_spread_is_that_of_the_latent_over_the_logs(fitted: RSSM, line: PreparedDataset):
    seen = fitted.targets(encode_transitions(line, "train", fitted)).std(0)
    varied = fitted.spread > 0.1 + 1e-6
    assert varied.any()
    torch.testing.assert_close(seen[varied], torch.ones_like(seen[varied]), atol=0.35, rtol=0)


def test_heads_disagree_more_about_actions_never_taken(fitted: RSSM, line: PreparedDataset):
    state = encode_transitions(line, "held_out", fitted).state[:500]
    usual, unusual = (fitted.predict(state, torch.full((len(state), 1), a)).mean.var(0).mean() for a in (0.5, 5.0))
    assert unusual > 1.5 * usual


@pytest.mark.parametrize("recurrence", ["gru", "lstm", "none"])
@pytest.mark.parametrize("latent", ["categorical", "gaussian", "point"])
def test_every_transition_kind_trains(line: PreparedDataset, recurrence: str, latent: str):
    model, batch = model_of(line, recurrence=recurrence, latent=latent, learning_rate=5e-3), some_windows(line)
    optimizer, losses = model.optimizer(), []
    for _ in range(40):
        loss, _ = model.loss(batch, draws())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_padding_changes_nothing(line: PreparedDataset):
    model, batch = model_of(line), some_windows(line, 40)
    padded = batch.valid == 0
    assert padded.any()
    obs = batch.obs["state"].clone()
    obs[:, 1:][padded] = 1e3
    spoilt = Segments(
        action=batch.action.masked_fill(padded[..., None], 0.7), reward=batch.reward.masked_fill(padded, 50.0),
        terminal=batch.terminal.masked_fill(padded, 1.0), valid=batch.valid, obs={"state": obs},
    )  # fmt: skip
    for make in (lambda x: model.loss(x, draws())[0], lambda x: model.held_out(x)["nll"]):
        torch.testing.assert_close(make(spoilt), make(batch))
    (a, b) = (
        [p.clone() for p in torch.autograd.grad(model.loss(x, draws())[0], model.parameters())] for x in (batch, spoilt)
    )
    for left, right in zip(a, b, strict=True):
        torch.testing.assert_close(left, right)


def test_filtering_step_by_step_is_filtering_a_window(line: PreparedDataset):
    model, batch = model_of(line), some_windows(line)
    whole = model.filter_window(batch, None).state
    state, action = torch.randn(6, model.state_dim), torch.randn(6, 1)  # what came before an episode does not count
    for t in range(batch.action.shape[1] + 1):
        state = model.observe(state, action, {"state": batch.obs["state"][:, t]}, torch.full((6,), float(t == 0)))
        torch.testing.assert_close(state, whole[:, t])
        action = batch.action[:, min(t, 11)]


def test_number_of_ranks_does_not_change_the_gradient(line: PreparedDataset):
    model, batch = model_of(line), some_windows(line, 8)
    whole = torch.autograd.grad(model.loss(batch, draws())[0], model.parameters())
    halves = []
    for rank in (0, 1):
        shard = Shard(rank, 2)
        part = batch.map(shard.of)
        halves.append(torch.autograd.grad(model.loss(part, draws(), shard)[0], model.parameters()))
    for one, *two in zip(whole, *halves, strict=True):
        torch.testing.assert_close(one, torch.stack(two).mean(0), atol=1e-6, rtol=1e-4)


def test_untrained_reward_is_exactly_zero(line: PreparedDataset):
    model = model_of(line)
    state = torch.randn(5, model.state_dim)
    action = torch.zeros(5, 1)
    step = model.draw(state, action, model.predict(state, action), draws())
    assert step.reward.tolist() == [0.0] * 5


def test_gradients_reach_actions_through_imagined_steps(fitted: RSSM):
    action = torch.zeros(4, 1, requires_grad=True)
    state = fitted.initial(4)
    for seed in range(3):
        step = fitted.draw(state, action, fitted.predict(state, action), draws(seed))
        state = step.state
    step.reward.sum().backward()
    assert action.grad is not None
    assert action.grad.abs().min() > 0


def test_a_rollout_is_its_single_steps(fitted: RSSM, line: PreparedDataset):
    steps = encode_transitions(line, "train", fitted)[torch.arange(5)]
    rollout = Imagination(fitted).rollout(lambda state, t, _: steps.action, steps.state, 4, draws())
    state, generator = steps.state, draws()
    for t in range(4):
        step = fitted.draw(state, steps.action, fitted.predict(state, steps.action), generator)
        for name in ("reward", "continue_prob"):
            torch.testing.assert_close(getattr(rollout, name)[:, t], getattr(step, name))
        state = step.state
        torch.testing.assert_close(rollout.state[:, t + 1], state)


def test_choices_are_checked():
    with pytest.raises(ValueError, match=r"latent\n.*'gaussian', 'categorical' or 'point'"):
        RSSMConfig(latent="gauss")


def test_filter_of_a_dataset_matches_windows(fitted: RSSM, line: PreparedDataset, tmp_path: Path):
    episode = line.episodes("train")[3]
    first, end = line.offsets[episode], line.offsets[episode + 1]
    steps = int(end - first - 1)
    window = Windows(line, "train", steps).read(torch.tensor([[int(first), steps]]))
    at = np.flatnonzero(line.steps("train") == first)[0]
    states = encode_transitions(line, "train", fitted).state[at : at + steps]
    torch.testing.assert_close(states, fitted.filter_window(window, None).state[0, :-1], atol=1e-5, rtol=1e-4)
