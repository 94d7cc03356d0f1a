"""A log that is read from disk by row gives the same transitions, batches and weights as one in memory."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toys import hidden_velocity

from pipeline.data import batches, large_statistics
from pipeline.data.batches import Bootstrap, ComputedResamples, Resamples
from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.lazy_transitions import MappedTransitions
from pipeline.data.rows import in_memory, logged_rows
from pipeline.data.transitions import build_data_spec, encode_transitions
from pipeline.encoders.history import vector_encoder
from pipeline.imagination import RolloutSpec
from pipeline.ingest.writer import write_dataset
from pipeline.ope import OfflineConfig, evaluator
from pipeline.policies.bc import BCConfig
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.sac import SAC, SACConfig
from pipeline.training.baseline import learn_baseline
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.fit_world_model import fit_world_model
from pipeline.training.learn_policy import learn_policy
from pipeline.training.session import Session
from pipeline.types import Shard, Transitions
from pipeline.uncertainty import PenaltySpec
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble

MEMORY, DISK = TrainerConfig(), TrainerConfig(logs_in_memory=1e-9)
QUIET = Session(say=lambda text: None, progress=False)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("logs") / "dataset", hidden_velocity(30), "line", 0.3, 0)


def same(left: Transitions, right: Transitions) -> None:
    for name, tensor in vars(left).items():
        assert torch.equal(tensor, vars(right)[name]), name


@pytest.mark.parametrize("history", [0, 3])
def test_rows_from_disk_are_those_in_memory(logs: PreparedDataset, history: int) -> None:
    facts = build_data_spec(logs)
    encoder = vector_encoder(history, facts.obs_shapes, facts.statistics, facts.action_dim)
    for split in ("train", "held_out"):
        memory, disk = encode_transitions(logs, split, encoder), logged_rows(logs, split, encoder, 1e-9)
        assert isinstance(disk, MappedTransitions)
        assert isinstance(logged_rows(logs, split, encoder), Transitions)
        assert len(disk) == len(memory)
        same(disk[torch.arange(len(memory))], memory)
        index = torch.tensor([[3, 0], [len(memory) - 1, 3]])
        same(disk[index], memory[index])
        same(in_memory(disk, 3), memory[torch.tensor([0, (len(memory) - 1) // 2, len(memory) - 1])])


def test_next_actions_stay_within_episodes(logs: PreparedDataset) -> None:
    facts = build_data_spec(logs)
    steps = encode_transitions(logs, "train", vector_encoder(0, facts.obs_shapes, facts.statistics, facts.action_dim))
    last = np.isin(steps.row.numpy(), logs.offsets[1:] - 2)  # the last row of an episode has no action
    assert 0 < last.sum() < len(last)
    following = steps.row + torch.from_numpy(~last).long()
    assert torch.equal(steps.next_action, torch.from_numpy(logs.action[following.numpy()]))


def test_statistics_in_parts_are_those_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a setting, a constant, an exogenous feature and a feature that is not always measured."""
    rng, episodes = np.random.default_rng(0), []
    for _ in range(20):
        flag = (rng.uniform(size=51) < 0.3).astype(np.float32)
        walk, weather = rng.normal(size=(2, 51)).cumsum(1)
        obs = np.stack([walk, np.full(51, rng.normal()), np.full(51, 7.0), weather, flag], axis=1)
        episodes.append(Episode({"state": obs}, rng.uniform(-1, 1, (50, 1)), walk[1:], True))
    names = ["lab", "goal", "constant", "weather", "measured"]
    log = LoggedData("log", "npz", episodes, obs_names={"state": names}, flags={"lab": "measured"})
    dataset = write_dataset(
        tmp_path / "d", LoggedData(**{**vars(log), "exogenous": ["weather", "measured"]}), "log", 0.2, 0
    )
    monkeypatch.setattr(large_statistics, "CHUNK", 37)
    whole, parts = (vars(build_data_spec(dataset, limit).statistics) for limit in (1.0, 1e-9))
    assert (whole["settings"], whole["exogenous"], whole["flags"]) == ([1], [3, 4], {0: 4})
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        assert parts[name] == (value if name == "flags" else pytest.approx(value, rel=1e-12, abs=1e-12)), name


def test_computed_resamples_are_bootstrap_samples() -> None:
    """Drawn with replacement, different for every member, and the same whenever they are asked."""
    count, rows = 3, 20_000
    samples = ComputedResamples(count, rows, seed=5)
    places = torch.arange(rows).expand(count, rows)
    drawn = samples[places]
    assert torch.equal(drawn[:, 7:9], samples[places[:, 7:9]])
    assert not torch.equal(drawn, ComputedResamples(count, rows, seed=6)[places])
    for member in drawn:
        assert 0 <= int(member.min()) < int(member.max()) < rows
        assert len(member.unique()) / rows == pytest.approx(1 - np.exp(-1), abs=0.01)
        assert torch.bincount(member // 2000).float().std() < 4 * 2000**0.5
    assert (drawn[0] == drawn[1]).float().mean() < 0.01
    assert torch.equal(ComputedResamples(1, rows, 0)[places[:1]], places[:1])


def test_batches_of_a_model_are_the_same(logs: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = vector_encoder(0, logs.spec.obs_shapes, build_data_spec(logs).statistics, 1)
    monkeypatch.setattr(batches, "ComputedResamples", Resamples)
    memory, disk = logged_rows(logs, "train", encoder), logged_rows(logs, "train", encoder, 1e-9)
    held_out = encode_transitions(logs, "held_out", encoder)
    for bootstraps in (1, 4):
        pair = [Bootstrap(rows, held_out, bootstraps, 8, seed=0) for rows in (memory, disk)]
        assert pair[0].steps_per_epoch == pair[1].steps_per_epoch
        for left, right in zip(*(b.train(1, 2, 5, Shard(1, 2)) for b in pair), strict=True):
            assert left.state.shape == (bootstraps, 4, encoder.state_dim)
            same(left, right)


def test_world_models_have_the_same_weights(logs: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ComputedResamples", Resamples)
    config, fit = (
        EnsembleConfig(members=2, elites=1, width=8, depth=1, history=2),
        FitConfig(max_epochs=2, batch_size=64),
    )
    (memory, first), (disk, second) = (
        fit_world_model(GaussianEnsemble, config, logs, fit, trainer, 0, QUIET) for trainer in (MEMORY, DISK)
    )
    equal_weights(memory, disk)
    assert first.termination == second.termination
    assert first.epochs == second.epochs


def test_behavior_cloning_has_the_same_weights(logs: PreparedDataset) -> None:
    config = BCConfig(updates=30, hidden=[8], history=1)
    equal_weights(*(learn_baseline("bc", config, logs, trainer, 0, QUIET).policy for trainer in (MEMORY, DISK)))


def test_a_policy_has_the_same_weights(logs: PreparedDataset) -> None:
    torch.manual_seed(0)
    config = EnsembleConfig(members=2, elites=1, width=8, depth=1)
    model = GaussianEnsemble(config, build_data_spec(logs)).eval().requires_grad_(False)
    rollout = RolloutSpec(starts=20, refresh_every=10, real_ratio=0.5, length=2)

    def learned(trainer: TrainerConfig) -> LearnedPolicy:
        sac = SACConfig(updates=20, hidden=[8], batch_size=16)
        return learn_policy("sac", sac, model, logs, PenaltySpec("distance"), rollout, trainer, 0, QUIET)

    memory, disk = learned(MEMORY), learned(DISK)
    equal_weights(memory.policy, disk.policy)
    assert memory.history == disk.history


def test_offline_estimates_are_the_same(logs: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = EnsembleConfig(members=2, elites=1, width=8, depth=1)
    model = GaussianEnsemble(config, build_data_spec(logs)).eval().requires_grad_(False)
    encoder = model.actor_encoder()
    agent: Any = SimpleNamespace(policy=SAC(SACConfig(hidden=[8]), LearnerSpec(encoder.state_dim, 1)), encoder=encoder)
    quick = OfflineConfig(updates=20, critics=2, hidden=[8], density_updates=20, bootstrap=20, rows=100)
    memory = evaluator.PolicyEvaluator(logs, model, quick, 0)(agent)
    monkeypatch.setattr(evaluator, "logged_rows", partial(logged_rows, limit=1e-9))
    assert evaluator.PolicyEvaluator(logs, model, quick, 0)(agent) == memory


def equal_weights(left: Any, right: Any) -> None:
    states = left.state_dict(), right.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
