"""Policies that see images: stacked frames, batches read from the log, and what behavior cloning makes of them."""

import gc
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from toys import transitions_equal

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.encoders.frame_stack import FramesConfig, StackedFrames
from pipeline.ingest.writer import write_dataset
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import bundle_spec, save_bundle
from pipeline.training.baseline import encoded_logs
from pipeline.training.config import TrainerConfig
from pipeline.training.fit_world_model import check_observations
from pipeline.training.policy import PolicyTraining
from pipeline.training.replay_buffer import ReadReplay
from pipeline.training.trainer import make_trainer
from pipeline.world_models import WORLD_MODELS

SIDE, STEPS = 32, 12
STRIDE = 4.0  # columns that the bar moves at most in a step


def bar(columns: np.ndarray) -> np.ndarray:
    """Frames with a bright bar, four columns wide, from each of ``columns`` on."""
    lit = (np.arange(SIDE) >= columns[:, None]) & (np.arange(SIDE) < columns[:, None] + 4)
    frames = np.zeros((len(columns), SIDE, SIDE, 3), np.uint8)
    frames[...] = 200 * lit[:, None, :, None]
    return frames


def moving_bar(episodes: int, wheel: bool = False) -> LoggedData:
    """The action is the way that the bar has come since the last frame, as a share of ``STRIDE``: no single frame
    shows it. ``wheel`` adds a vector observation, the step's number and a half."""
    rng, logged = np.random.default_rng(0), []
    for _ in range(episodes):
        moves = rng.integers(-STRIDE, STRIDE + 1, STEPS)
        columns = np.clip(rng.integers(0, SIDE - 4) + np.concatenate([[0], np.cumsum(moves)]), 0, SIDE - 4)
        action = np.diff(columns, prepend=columns[0])[:-1, None] / STRIDE
        obs = {"pixels": bar(columns)} | ({"wheel": np.arange(STEPS + 1.0)[:, None] + 0.5} if wheel else {})
        logged.append(Episode(obs, action.astype(np.float32), np.arange(float(STEPS)), False))
    return LoggedData("bars", "minari", logged, action_low=[-2.0], action_high=[2.0])


def stacked(dataset: PreparedDataset, frames: int = 2) -> tuple[StackedFrames, MappedTransitions]:
    facts = build_data_spec(dataset)
    encoder = StackedFrames(FramesConfig(frames), facts.obs_shapes, facts.statistics)
    return encoder, MappedTransitions(dataset, "train", encoder, frames)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("bars") / "dataset", moving_bar(80), "bars", 0.2, 0)


def test_newest_frame_comes_first_and_an_episode_starts_afresh(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", moving_bar(5, wheel=True), "bars", 0.3, 0)
    encoder, _ = stacked(dataset, frames=3)
    assert encoder.state_dim == 1 + 3 * 3 * SIDE**2
    first = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    expected = [([0, 0, 0], [0, 0, 0]), ([1, 0, 0], [1, 1, 1]), ([2, 1, 0], [2, 1, 1]), ([3, 2, 1], [3, 2, 1])]
    state = torch.full((2, encoder.state_dim), 77.0)  # what came before an episode does not count
    for t, starts in enumerate(first):
        obs = {"pixels": torch.full((2, SIDE, SIDE, 3), t, dtype=torch.uint8), "wheel": torch.full((2, 1), t + 0.5)}
        state = encoder.observe(state, torch.zeros(2, 1), obs, starts)
        steps = torch.from_numpy(dataset.obs["wheel"][np.r_[dataset.steps("train")]])
        torch.testing.assert_close(state[:, 0], (t + 0.5 - steps.mean()).expand(2) / steps.std(correction=0))
        for row, frames in zip(state[:, 1:], expected[t], strict=True):
            assert torch.equal(row.reshape(SIDE**2, 3, 3), torch.tensor(frames).float()[:, None].expand(SIDE**2, 3, 3))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_rows_read_on_demand_are_those_filtered_in_order(bars: PreparedDataset, frames: int) -> None:
    encoder, mapped = stacked(bars, frames)
    whole = encode_transitions(bars, "train", encoder)
    assert len(mapped) == len(whole)
    picks = torch.tensor([0, 1, 2, STEPS - 1, STEPS, STEPS + 1, len(whole) - 1, 5, 5])
    transitions_equal(mapped[picks], whole[picks])


def test_one_batch_at_a_time_is_in_memory(bars: PreparedDataset) -> None:
    """Forty batches hold 250 MB; read one after the other they take the room of a few."""
    _, mapped = stacked(bars)
    replay, process = ReadReplay(mapped), psutil.Process()
    batch_bytes = 2 * 4 * 128 * 6 * SIDE**2
    next(iter(replay.batches(1, 128, torch.Generator())))
    gc.collect()
    before, largest, count = process.memory_info().rss, 0, 0
    for batch in replay.batches(40, 128, torch.Generator().manual_seed(0)):
        assert batch.state.shape == (128, 6 * SIDE**2)
        largest, count = max(largest, process.memory_info().rss - before), count + 1
    assert count == 40
    assert largest < 12 * batch_bytes


@pytest.fixture(scope="module")
def cloned(bars: PreparedDataset) -> tuple[BehaviorCloning, StackedFrames]:
    facts = build_data_spec(bars)
    encoder, replay = encoded_logs(bars, facts, history=0)
    assert isinstance(replay, ReadReplay)
    torch.manual_seed(0)
    config = BCConfig(updates=300, batch_size=64, hidden=[32], image_depth=4, learning_rate=3e-3)
    learner = BehaviorCloning(config, LearnerSpec(encoder.state_dim, facts.action_dim), images=encoder.images)
    training = PolicyTraining(learner, replay, None, 150, 0, "bc")
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 2, []).fit(training)
    return learner, encoder


def bundle_of(bars: PreparedDataset, cloned: Any, folder: Path, **changes: Any) -> Path:
    learner, encoder = cloned
    own = {"encoder": "frames", "encoder_config": asdict(encoder.config), **changes}
    facts = bundle_spec("bc", learner.config, bars, build_data_spec(bars), 0, [], **own)
    save_bundle(folder, learner, encoder, facts, {"rows": []}, "# card\n")
    return folder


def test_cloning_sees_how_things_move(bars: PreparedDataset, cloned: Any, tmp_path: Path) -> None:
    """On held-out episodes, by the agent from a bundle: an error far below the spread of the actions, and blind to
    motion where episodes are started afresh at every step."""
    agent = load_agent(bundle_of(bars, cloned, tmp_path / "bundle"))
    assert agent.stateful
    chosen = bars.episodes("held_out")
    rows = bars.offsets[chosen][:, None] + np.arange(STEPS)
    done, error, frozen = 2 * bars.action[rows], [], []  # in the environment's units
    agent.reset(len(chosen))
    for t in range(STEPS):
        error.append(agent.act({"pixels": bars.obs["pixels"][rows[:, t]]}) - done[:, t])
    for t in range(STEPS):
        agent.reset(len(chosen))
        frozen.append(agent.act({"pixels": bars.obs["pixels"][rows[:, t]]}) - done[:, t])
    assert np.square(error).mean() < 0.1 * done.var()
    assert np.square(frozen).mean() > 0.6 * done.var()


def test_bundle_acts_as_the_learner_did(bars: PreparedDataset, cloned: Any, tmp_path: Path) -> None:
    learner, _ = cloned
    _, mapped = stacked(bars)
    agent = load_agent(bundle_of(bars, cloned, tmp_path / "bundle"))
    first = bars.offsets[bars.episodes("train")[0]]
    seen = {"pixels": bars.obs["pixels"][None, first : first + 4]}
    acted = agent.act_after(seen, 2 * bars.action[None, first : first + 3])
    with torch.no_grad():
        np.testing.assert_allclose(acted, 2 * learner.act(mapped[torch.tensor([3])].state, None), rtol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "standard"},
        {"encoder_config": {"frames": 3}},
        {"encoder_config": {"frames": 10**9}},
        {"encoder_config": {"rate": 1}},
    ],
)
def test_bundle_with_another_filter_is_refused(
    bars: PreparedDataset, cloned: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    folder = bundle_of(bars, cloned, tmp_path / "bundle", **changes)
    with pytest.raises(ValueError, match="do not fit together"):
        load_agent(folder)


def test_images_alone_need_a_model_that_sees_them(bars: PreparedDataset, tmp_path: Path) -> None:
    both = write_dataset(tmp_path / "d", moving_bar(3, wheel=True), "bars", 0.3, 0)
    check_observations(WORLD_MODELS["rssm"], bars.spec)
    check_observations(WORLD_MODELS["gaussian_ensemble"], both.spec)
    with pytest.raises(ValueError, match=r"observations are images alone; set `world_model\.name: rssm`"):
        check_observations(WORLD_MODELS["gaussian_ensemble"], bars.spec)
