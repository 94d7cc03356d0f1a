"""Minari datasets made for tests: run with random actions, and the agent that takes the same actions again."""

import warnings
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.spaces import Space
from minari.data_collector import EpisodeBuffer

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.minari import minari_root
from pipeline.ingest.writer import write_dataset
from pipeline.params import choose
from pipeline.serving.agent import RawObservation


def ingest(folder: Path, **block: Any) -> PreparedDataset:
    """The log of a block of params.yaml, split by episode."""
    block = {"held_out_path": block["path"], **block}
    source, config = choose(SOURCES, block, "dataset", key="source")
    return write_dataset(folder, source(config).read(), "log", config.held_out_fraction, config.split_seed)


def stacked(values: list[Any]) -> Any:
    """Values over time, one array for each leaf of nested dicts and tuples."""
    if isinstance(values[0], dict):
        return {key: stacked([value[key] for value in values]) for key in values[0]}
    if isinstance(values[0], tuple):
        return tuple(stacked([value[i] for value in values]) for i in range(len(values[0])))
    return np.stack(values)


def run(env: gymnasium.Env[Any, Any], seed: int) -> EpisodeBuffer:
    """One episode of random actions."""
    obs, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    steps: list[Any] = []
    while not steps or not (steps[-1][3] or steps[-1][4]):
        action = env.action_space.sample()
        next_obs, reward, terminated, truncated, _ = env.step(action)
        steps.append((action, next_obs, float(reward), bool(terminated), bool(truncated)))
    actions, seen, rewards, terminations, truncations = (list(x) for x in zip(*steps, strict=True))
    return EpisodeBuffer(
        observations=stacked([obs, *seen]),
        actions=stacked(actions),
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
    )


def store(root: Path, buffers: list[EpisodeBuffer], name: str = "test/log-v0", **options: Any) -> dict[str, Any]:
    """Write a dataset below ``root``; the block of params.yaml that reads it."""
    root.mkdir(exist_ok=True)
    with minari_root(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(name, buffers, **options)
    return {"source": "minari", "path": str(root), "dataset_id": name}


def record(root: Path, env: gymnasium.Env[Any, Any], episodes: int = 3, **options: Any) -> dict[str, Any]:
    """A dataset of ``env`` with the seeds from 0 on; the block of params.yaml that reads it."""
    buffers = [run(env, seed) for seed in range(episodes)]
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    return store(root, buffers, env=env, **spaces, **options)


def episode(
    obs: Any, actions: Any, steps: int, ends: list[int] | None = None, first: float = 1.0, **more: Any
) -> EpisodeBuffer:
    """An episode with the rewards ``first``, ``first`` + 1, ... and terminations at the steps ``ends``."""
    terminations = [t in (ends or []) for t in range(steps)]
    values: dict[str, Any] = {"terminations": terminations, "truncations": [False] * steps, **more}
    return EpisodeBuffer(observations=obs, actions=actions, rewards=list(first + np.arange(steps)), **values)  # type: ignore[arg-type]


def pair(obs: Any, actions: Any, steps: int, **more: Any) -> list[EpisodeBuffer]:
    """Two episodes that differ in their rewards alone, enough for a split."""
    return [episode(obs, actions, steps, first=first, **more) for first in (1.0, 11.0)]


def blocks(space: Space[Any], *values: Any) -> np.ndarray:
    """Values of ``space`` over time, in its dtype."""
    return np.array(values, space.dtype)


def ramp(rows: int, first: float = 0.0) -> np.ndarray:
    """One feature over ``rows`` rows that grows by 1."""
    return (first + np.arange(rows, dtype=np.float32))[:, None]


def still(steps: int) -> np.ndarray:
    """Actions of zero."""
    return np.zeros((steps, 1), np.float32)


def refusal(tmp_path: Path, **block: Any) -> str:
    """The line with which ingest refuses a log; it never asks to delete anything."""
    with pytest.raises(ValueError) as caught:
        ingest(tmp_path / "d", **block)
    assert "delete" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Replay:
    """An agent that takes the actions of one logged episode again."""

    obs_dim, action_dim = None, None

    def __init__(self, dataset: PreparedDataset, episode: int) -> None:
        spec = dataset.spec
        steps = slice(dataset.offsets[episode], dataset.offsets[episode + 1] - 1)
        self.action_kind = spec.action_kind
        stored = np.asarray(dataset.action[steps])
        low, high = np.array(spec.action_low), np.array(spec.action_high)
        discrete = spec.action_kind == "discrete"
        self.actions = stored.argmax(1) + spec.action_start if discrete else low + (stored + 1) / 2 * (high - low)

    def reset(self, episodes: int) -> None:
        """Start again."""
        self.step = 0

    def act(self, obs: RawObservation) -> np.ndarray:
        """The next logged action."""
        self.step += 1
        return self.actions[self.step - 1 : self.step]
