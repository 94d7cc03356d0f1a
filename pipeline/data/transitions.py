"""From the prepared dataset to what learners eat: statistics of the training split, and transitions of states."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.protocols import StateEncoder, WindowEncoder, WorldModel
from pipeline.types import Observation, Transitions

EPISODES = 256  # filtered side by side
IntArray = NDArray[np.int64]


def build_data_spec(dataset: PreparedDataset) -> DataSpec:
    """What the training split tells a world model."""
    train = dataset.transitions("train")
    statistics = Statistics.of(train["obs"], train["next_obs"], train["reward"], train["terminal"])
    spec = dataset.spec
    return DataSpec(statistics, spec.obs_shapes, spec.action_dim, len(train["reward"]), spec.env_id)


@torch.no_grad()
def encode_transitions(
    dataset: PreparedDataset, split: str, encoder: StateEncoder, device: torch.device | str = "cpu"
) -> Transitions:
    """All transitions of a split between the states that ``filter`` has after every observation, on the CPU. Episodes
    go side by side, the longest first, one step at a time, or all at once (:class:`WindowEncoder`)."""
    states = torch.zeros(len(dataset.action), encoder.state_dim)
    for seen, state in iter_states(dataset, split, encoder, device):
        states[seen] = state.cpu()
    rows = dataset.steps(split)
    return logged_steps(dataset, rows, states[rows], states[rows + 1])


def logged_steps(dataset: PreparedDataset, rows: IntArray, state: Tensor, next_state: Tensor) -> Transitions:
    """The steps out of ``rows`` "B" between states "B Z" that a filter made of them, where those lie."""
    reward = torch.from_numpy(dataset.reward[rows]).to(state.device)
    action = torch.from_numpy(dataset.action[rows]).to(state.device)
    return Transitions.from_log(state, action, reward, next_state, torch.from_numpy(dataset.terminal[rows]).to(reward))


@torch.no_grad()
def iter_states(
    dataset: PreparedDataset, split: str, encoder: StateEncoder, device: torch.device | str = "cpu"
) -> Iterator[tuple[IntArray, Tensor]]:
    """Rows "B" of a split and the states "B Z" of ``filter`` once they were seen, until every row came once."""
    encoder = encoder.actor_encoder() if isinstance(encoder, WorldModel) else encoder
    order = dataset.episodes(split)
    order = order[np.argsort(-np.diff(dataset.offsets)[order], kind="stable")]
    for some in np.array_split(order, -(-len(order) // EPISODES)):
        first, end = dataset.offsets[some], dataset.offsets[some + 1]
        if isinstance(encoder, WindowEncoder):
            yield _all_at_once(dataset, first, end, encoder, device)
        else:
            yield from _iter_episodes(dataset, first, end, encoder, device)


def _all_at_once(
    dataset: PreparedDataset, first: IntArray, end: IntArray, encoder: WindowEncoder, device: torch.device | str
) -> tuple[IntArray, Tensor]:
    """Whole episodes, one after the other."""
    count = end - first
    age = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    rows = np.repeat(first, count) + age
    obs, action = observations(dataset, rows, device), torch.from_numpy(dataset.action[rows]).to(device)
    return rows, encoder.encode_episodes(obs, action, torch.from_numpy(age).to(device))


def _iter_episodes(
    dataset: PreparedDataset, first: IntArray, end: IntArray, encoder: StateEncoder, device: torch.device | str
) -> Iterator[tuple[IntArray, Tensor]]:
    """Episodes that are sorted by falling length, side by side."""
    state = encoder.initial(len(first)).to(device)
    for t in range(int((end - first).max())):
        rows = (first + t)[first + t < end]
        before = np.maximum(rows - 1, first[: len(rows)])  # its action does not count at t = 0
        state = encoder.observe(
            state[: len(rows)],
            torch.from_numpy(dataset.action[before]).to(device),
            observations(dataset, rows, device),
            torch.full((len(rows),), float(t == 0), device=device),
        )
        yield rows, state


def observations(dataset: PreparedDataset, rows: IntArray, device: torch.device | str = "cpu") -> Observation:
    """Raw observations of ``rows`` (any shape), each "rows ..."."""
    flat = rows.reshape(-1)
    return {
        key: torch.from_numpy(array[flat]).unflatten(0, rows.shape).to(device) for key, array in dataset.obs.items()
    }


def windows(dataset: PreparedDataset, split: str, length: int, count: int, generator: torch.Generator) -> Tensor:
    """Start rows of at most ``count`` windows of ``length`` steps, drawn without replacement, int64."""
    starts = torch.from_numpy(dataset.windows(split, length))
    return starts[torch.randperm(len(starts), generator=generator)[:count]]
