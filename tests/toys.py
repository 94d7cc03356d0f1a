"""Small worlds with known answers."""

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
from pipeline.training.world_model import FitConfig, WorldModelTraining
from pipeline.types import Transitions
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.gaussian import GaussianModel
from pipeline.world_models.gaussian_ensemble import EnsembleConfig, GaussianEnsemble
from pipeline.world_models.rssm import RSSM, RSSMConfig

HISTORY = "gaussian_ensemble with history"

NOISE = 0.1


def linear_world(rows: int, seed: int = 0) -> dict[str, Tensor]:
    """next = 0.9 x + 0.5 a + 0.1 noise in two dimensions beside a feature that never varies; reward -|x|^2 + a_0; an
    episode ends where the first dimension of the next observation exceeds 2."""
    draws = torch.Generator().manual_seed(seed)
    obs = torch.cat([1.2 * torch.randn(rows, 2, generator=draws), torch.full((rows, 1), 7.0)], dim=1)
    action = torch.rand(rows, 2, generator=draws) * 2 - 1
    next_obs = obs.clone()
    next_obs[:, :2] = 0.9 * obs[:, :2] + 0.5 * action + NOISE * torch.randn(rows, 2, generator=draws)
    reward = -obs[:, :2].square().sum(1) + action[:, 0]
    return {"obs": obs, "action": action, "reward": reward, "next_obs": next_obs,
            "terminal": (next_obs[:, 0] > 2).float()}  # fmt: skip


def build_data_spec(raw: dict[str, Tensor]) -> DataSpec:
    statistics = Statistics.of(raw["obs"], raw["next_obs"], raw["reward"], raw["terminal"])
    return DataSpec(statistics, {"state": [raw["obs"].shape[1]]}, raw["action"].shape[1], len(raw["obs"]))


def transitions_of(raw: dict[str, Tensor], encoder: StandardEncoder) -> Transitions:
    nothing = torch.zeros_like(raw["reward"])
    return Transitions(encoder.encode(raw["obs"]), raw["action"], raw["reward"], encoder.encode(raw["next_obs"]),
                       raw["terminal"], nothing, nothing + 1, nothing)  # fmt: skip


def logged_in(model: Any, raw: dict[str, Tensor]) -> Transitions:
    """The toy's transitions, each an episode of its own, as the model filters them."""
    nothing, count = torch.zeros(len(raw["obs"])), len(raw["obs"])
    with torch.no_grad():
        state = model.observe(model.initial(count), raw["action"], {"state": raw["obs"]}, nothing + 1)
        after = model.observe(state, raw["action"], {"state": raw["next_obs"]}, nothing)
    return Transitions(state, raw["action"], raw["reward"], after, raw["terminal"], nothing, nothing + 1, nothing)


def world_model(name: str, raw: dict[str, Tensor]) -> Any:
    """Any registered one by its defaults, or :data:`HISTORY`."""
    torch.manual_seed(0)
    chosen = WORLD_MODELS[name.removesuffix(" with history")]
    return chosen(chosen.Config(**({"history": 2} if name == HISTORY else {})), build_data_spec(raw))


def small_ensemble(raw: dict[str, Tensor], **config: object) -> GaussianEnsemble:
    torch.manual_seed(0)
    settings = {"members": 3, "elites": 2, "width": 32, "depth": 2, **config}
    return GaussianEnsemble(EnsembleConfig(**settings), build_data_spec(raw))  # type: ignore[arg-type]


def training_of(
    model: GaussianModel, train: Transitions, held_out: Transitions, config: FitConfig
) -> WorldModelTraining:
    batches = Bootstrap(train, held_out, model.num_bootstraps, config.batch_size, seed=0)
    return WorldModelTraining(model, batches, config, seed=0)


def transitions_equal(left: Transitions, right: Transitions) -> None:
    for name, field in vars(left).items():
        torch.testing.assert_close(field, getattr(right, name), rtol=0, atol=0)


def hidden_velocity(episodes: int, steps: int = 24) -> LoggedData:
    """A point on a line whose velocity is pushed by the action; only the position is seen. It ends beyond 4; reward is
    the position it arrives at."""
    rng = np.random.default_rng(0)
    logged = []
    for _ in range(episodes):
        x, v, obs, actions = rng.normal(), 0.3 * rng.normal(), [], []
        obs.append(x)
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
    """A small recurrent model on windows of the hidden velocity."""
    with tempfile.TemporaryDirectory() as folder:  # the arrays stay mapped, so a killed process leaves no files behind
        dataset = write_dataset(Path(folder) / "line", hidden_velocity(episodes), "line", 0.2, 0)
    torch.manual_seed(0)
    model = RSSM(RSSMConfig(deter=12, stoch=4, width=12, members=2), transitions.build_data_spec(dataset))
    train, held_out = (Windows(dataset, split, config.window) for split in ("train", "held_out"))
    batches = WindowBatches(train, held_out, config.windows, config.held_out_rows, seed=0)
    return WorldModelTraining(model, batches, config, seed=0)
