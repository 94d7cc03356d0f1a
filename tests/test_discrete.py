"""Discrete actions from the log to the environment: integers outside, one-hot vectors inside."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
import torch
from data_examples import LENGTHS, counting_columns, npz_block
from gymnasium.spaces import Box, Discrete
from minari.data_collector import EpisodeBuffer

from pipeline.cli.export_dataset import export_minari
from pipeline.cli.inspect import inspect_log
from pipeline.data.dataset import PreparedDataset
from pipeline.data.transitions import build_data_spec
from pipeline.encoders.standard import StandardEncoder
from pipeline.envs.action_space import BoxActions, DiscreteActions, actions_of
from pipeline.evaluation.episodes import run_episodes
from pipeline.evaluation.visited import as_logs
from pipeline.ingest.checks import run_checks
from pipeline.ingest.dataset_card import card
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.minari import minari_root
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose
from pipeline.serving.agent import PolicyAgent, RandomAgent
from pipeline.serving.bundle import BundleSpec

STEPS = sum(LENGTHS)
NUMBERS = np.arange(STEPS) % 3  # what was done at each step of the counting log
THREE = {"action_kind": "discrete", "action_low": None, "action_high": None}


def ingest(block: dict[str, Any], folder: Path) -> PreparedDataset:
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", 0.3, 0)


def numbered(tmp_path: Path, action: np.ndarray = NUMBERS, **options: Any) -> PreparedDataset:
    block = npz_block(tmp_path / "log.npz", {**counting_columns(), "action": action}, **{**THREE, **options})
    return ingest(block, tmp_path / "d")


def chosen(dataset: PreparedDataset) -> list[int]:
    """The number of every logged step, decoded from what is stored."""
    return actions_of(dataset.spec).denormalize(dataset.action[dataset.steps("all")]).tolist()


@pytest.mark.parametrize("action", [NUMBERS, NUMBERS[:, None], NUMBERS.astype(np.float32), NUMBERS.astype(np.uint8)])
def test_whole_numbers_are_stored_one_hot(action: np.ndarray, tmp_path: Path) -> None:
    dataset = numbered(tmp_path, action, action_count=3)
    spec, rows = dataset.spec, dataset.steps("all")
    assert (spec.action_kind, spec.action_dim, spec.action_bounds) == ("discrete", 3, "declared")
    assert (spec.action_low, spec.action_high, spec.action_start) == ([0.0] * 3, [1.0] * 3, 0)
    assert dataset.action.dtype == np.float32
    np.testing.assert_array_equal(dataset.action[rows], np.eye(3)[NUMBERS])
    assert not dataset.action[dataset.offsets[1:] - 1].any()  # no action leaves a final observation
    assert chosen(dataset) == NUMBERS.tolist()


def test_numbers_need_not_start_at_zero_nor_all_occur(tmp_path: Path) -> None:
    dataset = numbered(tmp_path, NUMBERS - 1, action_low=[-2.0], action_count=5)
    assert (dataset.spec.action_dim, dataset.spec.action_start) == (5, -2)
    assert chosen(dataset) == (NUMBERS - 1).tolist()
    told = {f.name: f for f in run_checks(dataset)}["actions"]
    assert (told.severity, told.evidence["never_tried"]) == ("warning", 2)


def test_without_a_count_those_of_the_log_are_all(tmp_path: Path) -> None:
    dataset = numbered(tmp_path, NUMBERS + 4)
    assert (dataset.spec.action_dim, dataset.spec.action_start, dataset.spec.action_bounds) == (3, 4, "inferred")
    assert "discrete actions are inferred from the log, 4 to 6; set `dataset.action_count`" in dataset.spec.warnings[0]
    assert card(dataset, run_checks(dataset)).action_saturation == []


@pytest.mark.parametrize(
    ("action", "options", "expected"),
    [
        (NUMBERS, {"action_count": 2}, "episode 0, action[2] = 2 is not in 0 to 1; correct `dataset.action_count`"),
        (NUMBERS + 0.5, {}, "episode 0, action[0] = 0.5 is not an integer"),
        (
            np.eye(3)[NUMBERS],
            {},
            "episode 0, action: 3 numbers per step, but a discrete action is one integer; log one integer",
        ),
        (NUMBERS, {"action_kind": None}, "`action` holds int64; set `dataset.action_kind` to `discrete`"),
        (
            NUMBERS,
            {"action_kind": "diskrete"},
            "`diskrete` must be one of continuous, discrete (did",
        ),
        (NUMBERS, {"action_kind": None, "action_count": 3}, "action_count 3 needs `action_kind: discrete`"),
        (0 * NUMBERS, {}, "action 0 has bounds [0, 0]"),
    ],
)
def test_bad_numbers_are_refused(action: np.ndarray, options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        numbered(tmp_path, action, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_environment_tells_the_kind_and_the_count(tmp_path: Path) -> None:
    columns = counting_columns()
    for key in ("obs", "next_obs"):
        columns[key] = np.repeat(columns[key], 2, axis=1)  # CartPole has four
    columns["action"] = NUMBERS % 2
    block = npz_block(tmp_path / "log.npz", columns, action_low=None, action_high=None, env_id="CartPole-v1")
    spec = ingest(block, tmp_path / "d").spec
    assert (spec.action_kind, spec.action_dim, spec.action_bounds) == ("discrete", 2, "declared")


def test_d3rlpy_says_that_actions_are_discrete(tmp_path: Path) -> None:
    columns = counting_columns()
    with h5py.File(tmp_path / "log.h5", "w") as file:
        ends = np.maximum(columns["done"], columns["truncated"])
        for name, value in {"observations": columns["obs"], "actions": NUMBERS, "rewards": columns["reward"],
                            "terminals": columns["done"], "discrete_action": True,
                            "episode_terminals": ends}.items():  # fmt: skip
            file[name] = value
    path = str(tmp_path / "log.h5")
    dataset = ingest({"source": "d3rlpy_hdf5", "path": path, "held_out_path": path}, tmp_path / "d")
    assert dataset.spec.action_kind == "discrete"
    kept = columns["truncated"] == 0  # a last step without a true end is dropped
    assert chosen(dataset) == NUMBERS[kept].tolist()


def test_minari_spaces_come_back_as_they_were(tmp_path: Path) -> None:
    buffers, done = [], [5, 3, 5, 6, 7]
    for e in range(3):
        obs, actions = np.full((6, 2), e, np.float32), np.array(done) if e else np.array(done[::-1])
        ends = {"terminations": np.arange(5) == 4, "truncations": np.zeros(5, bool)}
        buffers.append(EpisodeBuffer(id=e, observations=obs, actions=actions, rewards=np.ones(5), **ends))
    spaces = {"observation_space": Box(-9, 9, (2,), np.float32), "action_space": Discrete(6, start=3)}
    with minari_root(tmp_path / "m"):
        minari.create_dataset_from_buffers("test/log-v0", buffers, **spaces)
    block = {"source": "minari", "path": str(tmp_path / "m"), "held_out_path": str(tmp_path / "m")}
    dataset = ingest({**block, "dataset_id": "test/log-v0"}, tmp_path / "d")
    assert (dataset.spec.action_dim, dataset.spec.action_start) == (6, 3)
    assert chosen(dataset) == done[::-1] + done + done
    export_minari(tmp_path / "d", "mine/log-v0", tmp_path / "out")
    with minari_root(tmp_path / "out"):
        stored = minari.load_dataset("mine/log-v0")
    assert stored.action_space == Discrete(6, start=3)
    assert [episode.actions.tolist() for episode in stored] == [done[::-1], done, done]


def test_inspect_proposes_a_block_that_reads_the_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", **{**counting_columns(), "action": NUMBERS + 1})
    text = "\n".join(inspect_log(tmp_path / "log.npz"))
    assert "action_kind: discrete  # unsure: actions are integers" in text
    assert "action_count: 3  # unsure: the log has 1 to 3" in text


# --- agents ---


@pytest.mark.parametrize("actions", [DiscreteActions(4, -1), BoxActions([-2.0, 0.0], [2.0, 10.0])])
def test_what_is_drawn_lies_in_the_space_and_goes_round(actions: DiscreteActions | BoxActions) -> None:
    raw = actions.uniform(np.random.default_rng(0), 200)
    assert all(actions.space().contains(np.asarray(one, actions.space().dtype)) for one in raw)
    known = actions.normalize(raw)
    assert known.shape == (200, actions.size)
    assert np.abs(known).max() <= 1
    np.testing.assert_allclose(actions.denormalize(known), raw, atol=1e-12)
    if actions.kind == "discrete":
        assert np.unique(raw).tolist() == [-1, 0, 1, 2]


class Echo(gymnasium.Env):  # type: ignore[type-arg]
    """Pays the number of the action, which lies from 5 to 7; three steps."""

    observation_space, action_space = Box(-9, 9, (2,), np.float32), Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.seen = self.np_random.normal(size=2).astype(np.float32)
        return self.seen, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.seen = self.np_random.normal(size=2).astype(np.float32)
        return self.seen, float(action), False, False, {}


gymnasium.register("Echo-v0", entry_point=Echo, max_episode_steps=3)


class ByFirst:
    """Chooses the first, second or third action by the first feature of the state."""

    plans = False

    def act(self, state: torch.Tensor, generator: Any) -> torch.Tensor:
        return torch.eye(3)[(state[:, 0] > -0.5).long() + (state[:, 0] > 0.5).long()]


def agent_of(dataset: PreparedDataset) -> PolicyAgent:
    spec, facts = dataset.spec, build_data_spec(dataset)
    described = BundleSpec(
        "sac", {}, facts.obs_shapes, vars(facts.statistics), spec.action_low, spec.action_high, None, {}, {}, 0, [],
        action_kind=spec.action_kind, action_start=spec.action_start,
    )  # fmt: skip
    return PolicyAgent(ByFirst(), StandardEncoder(facts.obs_shapes, facts.statistics), described)  # type: ignore[arg-type]


def test_an_agent_tells_whole_numbers_and_its_episodes_are_logs_again(tmp_path: Path) -> None:
    dataset = numbered(tmp_path, NUMBERS + 5)
    agent = agent_of(dataset)
    agent.reset(3)
    agent.encoder.mean, agent.encoder.std = torch.zeros(2), torch.ones(2)  # type: ignore[union-attr]
    obs = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    actions = agent.act(obs)
    assert actions.dtype == np.int64
    assert actions.tolist() == [5, 6, 7]
    assert agent.act_after({"state": np.stack([obs, -obs], 1)}, actions[:, None]).tolist() == [7, 6, 5]
    ran = run_episodes(agent, "Echo-v0", {}, episodes=4, seed=0, env_batch=3, record=True)
    logs = as_logs(ran.recorded, dataset.spec)
    assert logs.action.shape == (16, 3)
    done = actions_of(dataset.spec).denormalize(logs.action[logs.steps("all")])
    assert len(set(done.tolist())) == 3
    assert done.reshape(4, 3).sum(1).tolist() == ran.returns.tolist()
    assert not logs.action[logs.offsets[1:] - 1].any()


def test_random_agent_and_its_environment(tmp_path: Path) -> None:
    spec = numbered(tmp_path, NUMBERS + 5).spec
    agent = RandomAgent(spec, seed=0)
    returns = run_episodes(agent, "Echo-v0", {}, episodes=60, seed=0).returns
    assert returns.mean() == pytest.approx(18.0, abs=0.6)
    box = SimpleNamespace(action_kind="continuous", action_low=[0.0] * 3, action_high=[1.0] * 3, action_start=0)
    for wrong, env_id, expected in (
        (RandomAgent(box, 0), "Echo-v0", "action space Discrete(3, start=5) is not a Box"),
        (agent, "Pendulum-v1", "is not a Discrete"),
        (agent, "CartPole-v1", "action has 2 values, the agent expects 3"),
    ):
        with pytest.raises(ValueError) as caught:
            run_episodes(wrong, env_id, {}, episodes=1, seed=0)
        assert expected in str(caught.value)
