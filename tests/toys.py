"""Small environments whose dynamics are known, and small models of them."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.data import transitions
from pipeline.data.batches import Bootstrap, WindowBatches
from pipeline.data.episode import Episode, LoggedData
from pipeline.data.windows import Windows
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.ingest.writer import write_dataset
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.protocols import PolicyLearner
from pipeline.protocols import WorldModel
from pipeline.serving.bundle import BundleSpec, save_bundle
from pipeline.training.config import FitConfig
from pipeline.training.world_model import WorldModelTraining
from pipeline.types import Transitions
from pipeline.validation.stored import write_json
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.gaussian import GaussianModel
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble
from pipeline.world_models.rssm import RSSM, RSSMConfig

HISTORY = "gaussian_ensemble with history"

NOISE = 0.1


class WithoutInputs:
    """What a world model without exogenous features and flags answers."""

    exogenous_dim = 0

    def measured(self, batch: Transitions) -> None:
        """None: everything was measured."""


def linear_world(rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Steps of next = 0.9 x + 0.5 a + 0.1 noise in two dimensions, plus a constant third feature.

    The reward is -|x|^2 + a_0. An episode ends where the first dimension of the next observation exceeds 2.
    """
    draws = torch.Generator().manual_seed(seed)
    obs = torch.cat([1.2 * torch.randn(rows, 2, generator=draws), torch.full((rows, 1), 7.0)], dim=1)
    action = torch.rand(rows, 2, generator=draws) * 2 - 1
    next_obs = obs.clone()
    next_obs[:, :2] = 0.9 * obs[:, :2] + 0.5 * action + NOISE * torch.randn(rows, 2, generator=draws)
    reward = -obs[:, :2].square().sum(1) + action[:, 0]
    terminal = (next_obs[:, 0] > 2).float()
    return {"obs": obs, "action": action, "reward": reward, "next_obs": next_obs, "terminal": terminal}


def build_data_spec(raw: dict[str, Tensor]) -> DataSpec:
    """The spec of steps of :func:`linear_world`."""
    statistics = Statistics.of(raw["obs"], raw["next_obs"], raw["reward"], raw["terminal"])
    return DataSpec(statistics, {"state": [raw["obs"].shape[1]]}, raw["action"].shape[1], len(raw["obs"]))


def transitions_of(raw: dict[str, Tensor], encoder: StandardEncoder) -> Transitions:
    """The steps as logged transitions between encoded observations."""
    state, next_state = encoder.encode(raw["obs"]), encoder.encode(raw["next_obs"])
    return Transitions.from_log(state, raw["action"], raw["reward"], next_state, raw["terminal"])


def logged_in(model: WorldModel, raw: dict[str, Tensor]) -> Transitions:
    """The steps as logged transitions between states of ``model``, each in its own episode."""
    count = len(raw["obs"])
    zeros = torch.zeros(count)
    with torch.no_grad():
        state = model.observe(model.initial(count), raw["action"], {"state": raw["obs"]}, zeros + 1)
        next_state = model.observe(state, raw["action"], {"state": raw["next_obs"]}, zeros)
    return Transitions.from_log(state, raw["action"], raw["reward"], next_state, raw["terminal"])


def world_model(name: str, raw: dict[str, Tensor]) -> Any:
    """A registered world model with default options, or :data:`HISTORY`."""
    torch.manual_seed(0)
    model_class = WORLD_MODELS[name.removesuffix(" with history")]
    return model_class(model_class.Config(**({"history": 2} if name == HISTORY else {})), build_data_spec(raw))


def small_ensemble(raw: dict[str, Tensor], **config: object) -> GaussianEnsemble:
    """A Gaussian ensemble that trains fast; ``config`` overrides its options."""
    torch.manual_seed(0)
    settings = {"members": 3, "elites": 2, "width": 32, "depth": 2, **config}
    return GaussianEnsemble(EnsembleConfig(**settings), build_data_spec(raw))  # type: ignore[arg-type]


def training_of(
    model: GaussianModel, train: Transitions, held_out: Transitions, config: FitConfig
) -> WorldModelTraining:
    """The training of a model of single transitions."""
    batches = Bootstrap(train, held_out, model.num_bootstraps, config.batch_size, seed=0)
    return WorldModelTraining(model, batches, config, seed=0)


def transitions_equal(left: Transitions, right: Transitions) -> None:
    """Fails unless all fields are exactly equal."""
    for name, field in vars(left).items():
        torch.testing.assert_close(field, getattr(right, name), rtol=0, atol=0)


def hidden_velocity(episodes: int, steps: int = 24) -> LoggedData:
    """A log of a point on a line. Actions change its velocity, and only its position is observed.

    The reward is the next position; an episode ends where it is further than 4 from zero.
    """
    rng = np.random.default_rng(0)
    logged = []
    for _ in range(episodes):
        x, v = rng.normal(), 0.3 * rng.normal()
        obs, actions = [x], []
        while len(actions) < steps and abs(x) <= 4:
            a = rng.uniform(-1, 1)
            v, x = v + 0.2 * a, x + v + 0.2 * a
            actions.append(a)
            obs.append(x)
        state, action = np.array(obs, np.float32)[:, None], np.array(actions, np.float32)[:, None]
        logged.append(Episode({"state": state}, action, state[1:, 0], abs(x) > 4))
    bounds = {"action_low": [-1.0], "action_high": [1.0]}
    return LoggedData(place="line", source="npz", episodes=logged, **bounds)


def rssm_training(episodes: int, config: FitConfig) -> WorldModelTraining:
    """The training of a small recurrent model on :func:`hidden_velocity`."""
    with tempfile.TemporaryDirectory() as folder:  # the arrays stay mapped, so even a killed process leaves no files
        dataset = write_dataset(Path(folder) / "line", hidden_velocity(episodes), "line", 0.2, 0)
    torch.manual_seed(0)
    model = RSSM(RSSMConfig(deter=12, stoch=4, width=12, members=2), transitions.build_data_spec(dataset))
    train, held_out = (Windows(dataset, split, config.window) for split in ("train", "held_out"))
    batches = WindowBatches(train, held_out, config.windows, config.held_out_rows, seed=0)
    return WorldModelTraining(model, batches, config, seed=0)


def rewrite(file: Path, **changes: object) -> None:
    """Change keys of a stored object, as an author who means it: with a new digest."""
    write_json({**json.loads(file.read_text()), **changes}, file, allow_nan=True)


def saved_cloning(folder: Path) -> Path:
    """A bundle of a policy that clones: three observations, one action in [-2, 2]."""
    torch.manual_seed(0)
    config = BCConfig(updates=1, hidden=[4])
    obs = torch.randn(20, 3)
    statistics = Statistics.of(obs, obs + 0.1 * torch.randn(20, 3), torch.randn(20), torch.zeros(20))
    facts = BundleSpec(
        policy="bc",
        config=dataclasses.asdict(config),
        obs_shapes={"state": [3]},
        statistics=statistics,
        action_low=[-2.0],
        action_high=[2.0],
        env_id="Pendulum-v1",
        env_kwargs={},
        dataset={"name": "pendulum", "digest": "0" * 32},
        seed=0,
        privileged_knowledge=[],
    )
    encoder = StandardEncoder(facts.obs_shapes, statistics)
    save_bundle(folder, BehaviorCloning(config, LearnerSpec(3, 1)), encoder, facts, {"rows": []}, "card")
    return folder


def bandit(rows: int, penalty_slope: float = 0.0) -> Transitions:
    """One-step episodes: the reward is -(a - 0.5)^2, the penalty grows with the action; actions lie in [-1, 1]."""
    action = torch.rand(rows, 1, generator=torch.Generator().manual_seed(1)) * 2 - 1
    zero = torch.zeros(rows)
    reward = -(action[:, 0] - 0.5).square()
    penalty = penalty_slope * (action[:, 0] + 1)
    steps = Transitions.from_log(torch.zeros(rows, 2), action, reward, torch.zeros(rows, 2), zero + 1)
    return dataclasses.replace(steps, penalty=penalty)


def learned(learner: PolicyLearner, data: Transitions, updates: int) -> float:
    """The action of ``learner`` in state 0 after ``updates`` updates on batches of ``data``."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        rows = torch.randint(len(data), (128,), generator=generator)
        learner.update(data[rows], None, generator)
    return learner.act(torch.zeros(1, 2), None).item()
