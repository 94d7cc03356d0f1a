"""From the prepared dataset to what learners eat: statistics of the training split, and transitions of states."""

import torch
from torch import Tensor

from pipeline.data.store import PreparedDataset
from pipeline.standardise import Facts, StandardEncoder, Statistics
from pipeline.types import Transitions


def facts_of(dataset: PreparedDataset) -> Facts:
    """What the training split tells a world model."""
    train = dataset.transitions("train")
    statistics = Statistics.of(train["obs"], train["next_obs"], train["reward"], train["terminal"])
    spec = dataset.spec
    return Facts(statistics, spec.obs_shapes, spec.action_dim, len(train["reward"]), spec.env_id)


def encoded(dataset: PreparedDataset, split: str, encoder: StandardEncoder) -> Transitions:
    """All transitions of a split as states of a Markov model."""
    raw = dataset.transitions(split)
    nothing = torch.zeros_like(raw["reward"])
    return Transitions(
        state=encoder.encode(raw["obs"]),
        action=raw["action"],
        reward=raw["reward"],
        next_state=encoder.encode(raw["next_obs"]),
        terminal=raw["terminal"],
        penalty=nothing,
        logged=nothing + 1,
    )


def windows(dataset: PreparedDataset, split: str, length: int, count: int, generator: torch.Generator) -> Tensor:
    """Start rows of at most ``count`` windows of ``length`` steps, drawn without replacement, int64."""
    starts = torch.from_numpy(dataset.windows(split, length))
    return starts[torch.randperm(len(starts), generator=generator)[:count]]
