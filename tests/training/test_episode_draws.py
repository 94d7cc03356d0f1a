"""Logged steps of good episodes are drawn more often: by hand-worked weights, and in what learners imitate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.episode_draws import EpisodeDraws, _errors_when_left_out, draws_by_return, episode_advantages
from pipeline.data.rows import logged_rows
from pipeline.data.transitions import build_data_spec
from pipeline.encoders import encoder_for
from pipeline.imagination import Imagination, RolloutSpec
from pipeline.ingest.writer import write_dataset
from pipeline.policies.bc import BCConfig
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.policies.weighted_bc import WeightedBCConfig
from pipeline.training.baseline import learn_baseline
from pipeline.training.config import TrainerConfig
from pipeline.training.preferred_episodes import preferred_episodes
from pipeline.training.replay_buffer import LoggedReplay, MixedReplay, ReadReplay
from pipeline.training.session import Session
from pipeline.uncertainty import PenaltySpec, build_penalty
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

QUIET = Session(say=lambda text: None, progress=False)
GOOD, BAD = 0.8, -0.4  # logged actions
Write = Callable[[LoggedData], PreparedDataset]


def draws(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda log: write_dataset(tmp_path / "dataset", log, "test", 0.2, 0)


def two_policies(episodes: int = 40, steps: int = 8) -> LoggedData:
    """One episode of four takes the action ``GOOD`` and earns 1 a step, the others ``BAD`` and earn nothing."""
    rng = np.random.default_rng(0)

    def episode(good: bool) -> Episode:
        obs = rng.normal(size=(steps + 1, 2)).astype(np.float32)
        action = np.full((steps, 1), GOOD if good else BAD, np.float32)
        return Episode({"state": obs}, action, np.full(steps, float(good), np.float32), True)

    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    return LoggedData(place="two", source="npz", episodes=[episode(e % 4 == 0) for e in range(episodes)], **bounds)  # type: ignore[arg-type]


def test_rows_follow_the_weights_of_their_episodes() -> None:
    weighted = EpisodeDraws(np.array([2, 3, 1]), np.array([1.0, 3.0, 0.0]))
    assert weighted.share == pytest.approx([2 / 11, 9 / 11, 0.0])
    rows = weighted.rows(110_000, draws())
    counts = torch.bincount(rows, minlength=6).double()
    expected = torch.tensor([1, 1, 3, 3, 3, 0]) * 10_000.0
    assert counts[5] == 0
    assert ((counts - expected).abs() <= 5 * expected.sqrt()).all()
    assert torch.equal(rows, weighted.to(torch.device("cpu")).rows(110_000, draws()))


def test_equal_weights_draw_all_rows_alike() -> None:
    lengths = np.array([1, 400, 7])
    counts = torch.bincount(EpisodeDraws(lengths, np.ones(3)).rows(408_000, draws()), minlength=408).double()
    assert len(counts) == 408
    assert (counts - 1000).abs().max() < 6 * 1000**0.5


def test_weights_by_hand(write: Write) -> None:
    """Advantages, scaled to x in [0, 1], weigh exp(x / temperature), and each step as much as its episode."""
    rewards = [np.array(r, np.float32) for r in ([0, 1], [4], [1, 1, 1], [2], [0.5])]
    episodes = [
        Episode({"state": np.zeros((len(r) + 1, 1), np.float32)}, np.zeros((len(r), 1), np.float32), r, True)
        for r in rewards
    ]
    dataset = write(LoggedData(place="w", source="npz", episodes=episodes, action_low=[-1.0], action_high=[1.0]))
    kept = [rewards[i] for i in dataset.episodes("train")]
    returns = np.array([r.sum() for r in kept])
    lengths = np.array([len(r) for r in kept])
    mass = lengths * np.exp((returns - returns.min()) / np.ptp(returns) / 0.5)
    found = draws_by_return(dataset, "train", 0.5)
    assert found is not None
    assert found.share == pytest.approx(mass / mass.sum())


def test_a_good_start_is_no_merit(write: Write) -> None:
    """Returns that a linear function of the first observation explains leave the bonus alone."""
    rng = np.random.default_rng(1)
    starts, bonus = rng.normal(size=(100, 3)).astype(np.float32), rng.normal(size=100).astype(np.float32)

    def episode(start: np.ndarray, extra: float) -> Episode:
        obs = np.stack([start, start, start])
        return Episode({"state": obs}, np.zeros((2, 1), np.float32), np.array([0, 5 * start[0] + extra]), True)

    episodes = [episode(start, extra) for start, extra in zip(starts, bonus, strict=True)]
    dataset = write(LoggedData(place="s", source="npz", episodes=episodes, action_low=[-1.0], action_high=[1.0]))
    advantage, chosen = episode_advantages(dataset, "train"), dataset.episodes("train")
    assert np.corrcoef(advantage, bonus[chosen])[0, 1] > 0.97
    assert abs(np.corrcoef(advantage, starts[chosen, 0])[0, 1]) < 0.1
    assert np.corrcoef(dataset.episode_returns("train"), starts[chosen, 0])[0, 1] > 0.9


def test_an_advantage_is_the_error_of_a_fit_without_that_episode() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(12, 3))
    features[:, 2] = 2 * features[:, 1]  # adds nothing
    target = features[:, 0] + 0.3 * rng.normal(size=12)
    errors = _errors_when_left_out(features, target)
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        x = np.column_stack([np.ones(12), features[:, :2]])
        weights = np.linalg.lstsq(x[rest], target[rest], rcond=None)[0]
        assert errors[i] == pytest.approx(target[i] - x[i] @ weights, rel=1e-6)


def test_few_episodes_and_single_ones_are_not_fitted() -> None:
    """With as many coefficients as episodes the fit is exact and its errors are rounding; with half as many, chance."""
    rng = np.random.default_rng(3)
    target = rng.normal(size=20)
    for features in (39, 12):
        assert np.array_equal(_errors_when_left_out(rng.normal(size=(20, features)), target), target)
    assert not np.allclose(_errors_when_left_out(rng.normal(size=(20, 3)), target), target)
    marked = np.zeros((20, 1))
    marked[4] = 1.0  # nothing else says what this feature is worth
    assert _errors_when_left_out(marked, target)[4] == target[4]


def test_a_return_that_the_start_explains_is_no_difference(write: Write) -> None:
    starts = np.random.default_rng(4).normal(size=60).astype(np.float32)
    episodes = [
        Episode({"state": np.full((2, 1), s, np.float32)}, np.zeros((1, 1), np.float32), np.array([1000 * s]), True)
        for s in starts
    ]
    log = LoggedData(place="s", source="npz", episodes=episodes, action_low=[-1.0], action_high=[1.0])
    assert draws_by_return(write(log), "train", 0.05) is None


def test_without_true_ends_longer_recordings_are_not_better(write: Write) -> None:
    episodes = [
        Episode({"state": np.zeros((n + 1, 1), np.float32)}, np.zeros((n, 1), np.float32), np.full(n, r), False)
        for n, r in ((2, 2.0), (50, 1.0), (10, 1.5), (3, 0.5), (20, 1.2))
    ]
    log = LoggedData(place="cut", source="npz", episodes=episodes, action_low=[-1.0], action_high=[1.0])
    dataset = write(log)
    means = dataset.episode_returns("train") / dataset.episode_lengths("train")
    assert episode_advantages(dataset, "train") == pytest.approx(means - means.mean())


def test_equally_good_episodes_are_drawn_alike(write: Write) -> None:
    log = two_policies()
    for episode in log.episodes:
        episode.reward[:] = 2.0
    dataset, lines = write(log), []
    assert preferred_episodes(dataset, WeightedBCConfig(), lines.append) is None
    assert lines == ["return_temperature: all episodes are equally good, so they are drawn alike"]


def test_it_says_what_it_does_to_the_logs(write: Write) -> None:
    dataset, lines = write(two_policies()), []
    assert preferred_episodes(dataset, BCConfig(), lines.append) is None
    assert lines == []
    assert preferred_episodes(dataset, WeightedBCConfig(), lines.append) is not None
    good = int((dataset.episode_returns("train") > 0).sum())
    total = len(dataset.episodes("train"))
    assert lines == [
        f"return_temperature 0.05: draws are as varied as {good} episodes of {total}; a step's episode returns 8 on"
        f" average instead of {8 * good / total:.5g}"
    ]


def test_cloning_of_good_episodes_imitates_them(write: Write) -> None:
    dataset = write(two_policies())
    share = (dataset.episode_returns("train") > 0).mean()
    actions = {}
    for name, config in (
        ("bc", BCConfig(updates=400, hidden=[16], return_temperature=None)),
        ("weighted_bc", WeightedBCConfig(updates=400, hidden=[16])),
    ):
        learned = learn_baseline(name, config, dataset, TrainerConfig(), 0, QUIET)
        actions[name] = learned.policy.act(torch.zeros(1, 2), None).item()
    assert actions["bc"] == pytest.approx(share * GOOD + (1 - share) * BAD, abs=0.1)
    assert actions["weighted_bc"] == pytest.approx(GOOD, abs=0.1)


def test_a_baseline_can_be_watched_while_it_learns(write: Write) -> None:
    """What the monitor returns is in the history and changes no weight."""
    dataset, calls, policies = write(two_policies()), [], []

    def monitor(learned: LearnedPolicy) -> Callable[[int], dict[str, float]]:
        policies.append(learned.policy)
        return lambda updates: calls.append(updates) or {"return_mean": 2.0 * updates}

    config = WeightedBCConfig(updates=1500, hidden=[4])
    watched = learn_baseline("weighted_bc", config, dataset, TrainerConfig(), 0, QUIET, monitor)
    alone = learn_baseline("weighted_bc", config, dataset, TrainerConfig(), 0, QUIET)
    assert calls == [1000, 1500]
    assert [row["return_mean"] for row in watched.history.rows if "return_mean" in row] == [2000.0, 3000.0]
    assert policies == [watched.policy]
    weights = zip(watched.policy.parameters(), alone.policy.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_imagination_starts_in_good_episodes(write: Write) -> None:
    """And so do the logged rows of its batches."""
    dataset = write(two_policies())
    torch.manual_seed(0)
    model = GaussianEnsemble(EnsembleConfig(members=2, elites=1, width=8, depth=1), build_data_spec(dataset)).eval()
    logged = logged_rows(dataset, "train", model.actor_encoder())
    weighted = draws_by_return(dataset, "train", 0.05)
    imagination = Imagination(model, build_penalty(PenaltySpec("ensemble_std")))
    replay = MixedReplay(logged, imagination, RolloutSpec(starts=40, length=1, real_ratio=0.5), draws=weighted)
    learner = SAC(SACConfig(hidden=[4]), LearnerSpec(2, 1))
    replay.refresh(learner, draws())
    good = {tuple(state) for state in logged[torch.nonzero(logged.reward == 1.0).squeeze(1)].state.tolist()}
    started = replay.state()[0]["state"].tolist()
    assert len(started) == 40
    assert {tuple(state) for state in started} <= good
    (batch,) = replay.batches(1, 20, draws())
    assert (batch.reward[batch.logged == 1.0] == 1.0).all()


def test_batches_from_disk_are_those_from_memory(write: Write) -> None:
    dataset = write(two_policies())
    encoder = encoder_for(build_data_spec(dataset), 0)
    memory, disk = logged_rows(dataset, "train", encoder), logged_rows(dataset, "train", encoder, 1e-9)
    weighted = draws_by_return(dataset, "train", 0.05)
    for left, right in zip(
        LoggedReplay(memory, weighted).batches(1, 50, draws()),
        ReadReplay(disk, weighted).batches(1, 50, draws()),
        strict=True,
    ):
        assert (left.reward == 1.0).all()
        assert all(torch.equal(a, b) for a, b in zip(vars(left).values(), vars(right).values(), strict=True))
