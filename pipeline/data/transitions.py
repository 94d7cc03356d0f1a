"""From the prepared dataset to statistics of the training split and to transitions between encoded states."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.dataset import IN_MEMORY, DatasetSpec, PreparedDataset
from pipeline.data.large_statistics import large_statistics
from pipeline.encoders.layout import Layout
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.protocols import StateEncoder, WindowEncoder, WorldModel
from pipeline.types import Observation, Transitions

EPISODES = 256  # encoded in parallel
IntArray = NDArray[np.int64]


def build_data_spec(dataset: PreparedDataset, limit: float = IN_MEMORY) -> DataSpec:
    """The shapes and the statistics of the training split, for a world model. Logs of more than ``limit`` GiB are read
    in parts."""
    spec = dataset.spec
    count = int(dataset.episode_lengths("train").sum())
    if gibibytes(dataset, "train", spec.obs_dim) > limit:
        statistics = large_statistics(dataset)
    else:
        train = dataset.transitions("train")
        steps = (train["obs"], train["next_obs"], train["reward"], train["terminal"])
        statistics = Statistics.of(*steps, spec.flat_exogenous, spec.flat_flags)
    return DataSpec(statistics, spec.obs_shapes, spec.action_dim, count, spec.env_id, layout_of(spec))


def layout_of(spec: DatasetSpec) -> Layout:
    """What the numbers of a log stand for."""
    bounds = (spec.action_low, spec.action_high)
    return Layout(spec.obs_names, spec.action_names, spec.action_kind, spec.action_start, *bounds, spec.units)


def gibibytes(dataset: PreparedDataset, split: str, state_dim: int) -> float:
    """Size of all transitions of a split as tensors, in GiB."""
    row = 4 * (2 * state_dim + 2 * dataset.spec.action_dim + 5) + 8
    return int(dataset.episode_lengths(split).sum()) * row / (1 << 30)


@torch.no_grad()
def encode_transitions(
    dataset: PreparedDataset, split: str, encoder: StateEncoder, device: torch.device | str = "cpu"
) -> Transitions:
    """All transitions of a split between the states of ``encoder``, on the CPU; encoding runs on ``device``."""
    episodes, offsets = dataset.episodes(split), dataset.offsets
    rows_of = np.diff(offsets)[episodes]
    shift = np.zeros(len(offsets) - 1, np.int64)  # from a row of the dataset to one of the split
    shift[episodes] = np.cumsum(rows_of) - rows_of - offsets[episodes]
    states = torch.zeros(int(rows_of.sum()), encoder.state_dim)
    for rows, state in iter_states(dataset, split, encoder, device):
        states[rows + shift[np.searchsorted(offsets, rows, side="right") - 1]] = state.cpu()
    steps = dataset.steps(split)
    at = steps + shift[np.searchsorted(offsets, steps, side="right") - 1]
    return logged_steps(dataset, steps, states[at], states[at + 1])


def logged_steps(dataset: PreparedDataset, rows: IntArray, state: Tensor, next_state: Tensor) -> Transitions:
    """The logged steps ``rows`` "B" between the given states "B Z", on the device of the states."""
    reward = torch.from_numpy(dataset.reward[rows]).to(state.device)
    row = torch.from_numpy(rows).to(state.device)
    action = torch.from_numpy(dataset.action[rows]).to(state.device)
    terminal = torch.from_numpy(dataset.terminal[rows]).to(reward)
    end = dataset.offsets[np.searchsorted(dataset.offsets, rows, side="right")]  # of each step's episode
    following = torch.from_numpy(dataset.action[np.minimum(rows + 1, end - 2)]).to(state.device)
    return Transitions.from_log(state, action, reward, next_state, terminal, row, following)


@torch.no_grad()
def iter_states(
    dataset: PreparedDataset, split: str, encoder: StateEncoder, device: torch.device | str = "cpu"
) -> Iterator[tuple[IntArray, Tensor]]:
    """Yield rows "B" of a split with the states "B Z" of ``encoder`` after their observations; every row once.

    Episodes are encoded in parallel, longest first: step by step, or all steps at once for a :class:`WindowEncoder`.
    """
    encoder = encoder.actor_encoder() if isinstance(encoder, WorldModel) else encoder
    order = dataset.episodes(split)
    order = order[np.argsort(-np.diff(dataset.offsets)[order], kind="stable")]
    for episodes in np.array_split(order, -(-len(order) // EPISODES)):
        first, end = dataset.offsets[episodes], dataset.offsets[episodes + 1]
        if isinstance(encoder, WindowEncoder):
            yield _encode_episodes(dataset, first, end, encoder, device)
        else:
            yield from _iter_episodes(dataset, first, end, encoder, device)


def _encode_episodes(
    dataset: PreparedDataset, first: IntArray, end: IntArray, encoder: WindowEncoder, device: torch.device | str
) -> tuple[IntArray, Tensor]:
    """Rows and states of whole episodes, one after the other."""
    count = end - first
    age = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    rows = np.repeat(first, count) + age
    obs = observations(dataset, rows, device)
    action = torch.from_numpy(dataset.action[rows]).to(device)
    return rows, encoder.encode_episodes(obs, action, torch.from_numpy(age).to(device))


def _iter_episodes(
    dataset: PreparedDataset, first: IntArray, end: IntArray, encoder: StateEncoder, device: torch.device | str
) -> Iterator[tuple[IntArray, Tensor]]:
    """Rows and states of episodes in parallel, step by step. Episodes are sorted by decreasing length."""
    state = encoder.initial(len(first)).to(device)
    for t in range(int((end - first).max())):
        rows = (first + t)[first + t < end]
        previous = np.maximum(rows - 1, first[: len(rows)])  # the encoder ignores the action at t = 0
        state = encoder.observe(
            state[: len(rows)],
            torch.from_numpy(dataset.action[previous]).to(device),
            observations(dataset, rows, device),
            torch.full((len(rows),), float(t == 0), device=device),
        )
        yield rows, state


def observations(dataset: PreparedDataset, rows: IntArray, device: torch.device | str = "cpu") -> Observation:
    """Observations as logged, not normalized, of ``rows`` of any shape, each "rows ..."."""
    flat = rows.reshape(-1)
    return {
        key: torch.from_numpy(array[flat]).unflatten(0, rows.shape).to(device) for key, array in dataset.obs.items()
    }


def windows(dataset: PreparedDataset, split: str, length: int, count: int, generator: torch.Generator) -> Tensor:
    """Start rows of at most ``count`` random windows of ``length`` steps, drawn without replacement, int64."""
    starts = torch.from_numpy(dataset.windows(split, length))
    return starts[torch.randperm(len(starts), generator=generator)[:count]]
