"""What the logs say about scale, and what they tell a world model."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

CONSTANT = 1e-6  # a feature whose spread is below this share of its magnitude does not vary
SELDOM = 0.02  # a feature that changes in a smaller share of steps is a setting


@dataclass(frozen=True)
class Statistics:
    """Scales of the training transitions. Lists run over the flat observation; ``delta_*`` are of the one-step change
    of the *normalized* observation, for the features that are ``changing``; reward is in the log's own unit.

    A setting, such as a target value or a patient's weight, differs between episodes but seldom changes within one.
    What changes it is not in the logs: a model that copies it is right nearly always, one that adds noise never.
    """

    obs_mean: list[float]
    obs_std: list[float]  # 1 where the feature is constant
    obs_min: list[float]
    obs_max: list[float]
    active: list[int]  # the features that vary
    delta_mean: list[float]
    delta_std: list[float]
    reward_mean: float
    reward_std: float
    reward_min: float
    reward_max: float
    terminals: int
    settings: list[int] = field(default_factory=list)  # of the active features

    @property
    def changing(self) -> list[int]:
        """The features that a step changes; only these are predicted by a Markov model, the others are copied."""
        return [i for i in self.active if i not in self.settings]

    @classmethod
    def of(cls, obs: Tensor, next_obs: Tensor, reward: Tensor, terminal: Tensor) -> "Statistics":
        """From raw training transitions: obs, next_obs "N O"; reward, terminal "N". Computed in float64. Logs of images
        alone have O = 0 and empty lists."""
        x, y, r = obs.double(), next_obs.double(), reward.double()
        mean, std = x.mean(0), _spread(x)
        varies = std > CONSTANT * x.abs().amax(0).clamp(min=1.0)
        std = torch.where(varies, std, torch.ones_like(std))
        active = varies.nonzero().squeeze(1)
        seldom = (y != x).double().mean(0)[active] < SELDOM
        delta = ((y - x) / std)[:, active[~seldom]]
        delta_std = _spread(delta)
        reward_std = float(r.std(correction=0))
        return cls(
            obs_mean=mean.tolist(),
            obs_std=std.tolist(),
            obs_min=torch.minimum(x.amin(0), y.amin(0)).tolist(),
            obs_max=torch.maximum(x.amax(0), y.amax(0)).tolist(),
            active=active.tolist(),
            delta_mean=delta.mean(0).tolist(),
            delta_std=torch.where(delta_std > CONSTANT, delta_std, torch.ones_like(delta_std)).tolist(),
            reward_mean=float(r.mean()),
            reward_std=reward_std if reward_std > CONSTANT else 1.0,
            reward_min=float(r.min()),
            reward_max=float(r.max()),
            terminals=int(terminal.sum()),
            settings=active[seldom].tolist(),
        )


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each column, "N O" -> "O"; torch warns of it where there is no column."""
    return values.std(0, correction=0) if values.shape[1] else values.new_zeros(0)


@dataclass(frozen=True)
class DataSpec:
    """What the training split tells a world model; saved as JSON beside its weights."""

    statistics: Statistics
    obs_shapes: dict[str, list[int]]
    action_dim: int
    transitions: int
    task: str | None = None  # environment id, for the known termination rules

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "DataSpec":
        return cls(**{**facts, "statistics": Statistics(**facts["statistics"])})
