"""Scales of the logged data, and the facts about the data that a world model is built from."""

from dataclasses import dataclass, field

import torch
from pydantic import with_config
from torch import Tensor

from pipeline.validation import RECORD, NonNegativeInt, PositiveFloat, PositiveInt

CONSTANT = 1e-6  # a feature is constant if its standard deviation is below this share of its magnitude
SELDOM = 0.02  # a feature is a setting if it changes in a smaller share of steps


@with_config(RECORD)
@dataclass(frozen=True)
class Statistics:
    """Scales of the training transitions.

    Lists run over the flat observation, in its own units. ``delta_*`` describe the one-step change of the *normalized*
    observation, for the ``changing`` features only. Reward is in the log's own unit.

    A setting, such as a target value or a patient's weight, differs between episodes but seldom changes within one. The
    logs do not show what changes it, so a model should copy it: the copy is nearly always exact.
    """

    obs_mean: list[float]
    obs_std: list[PositiveFloat]  # 1 where the feature is constant
    obs_min: list[float]
    obs_max: list[float]
    active: list[NonNegativeInt]  # the features that vary
    delta_mean: list[float]
    delta_std: list[PositiveFloat]
    reward_mean: float
    reward_std: PositiveFloat
    reward_min: float
    reward_max: float
    terminals: NonNegativeInt
    settings: list[NonNegativeInt] = field(default_factory=list)  # active ones that seldom change in an episode

    @property
    def changing(self) -> list[int]:
        """Active features that are not settings. A Markov model predicts these and copies the others."""
        return [i for i in self.active if i not in self.settings]

    @classmethod
    def of(cls, obs: Tensor, next_obs: Tensor, reward: Tensor, terminal: Tensor) -> "Statistics":
        """Statistics of training transitions in the log's own units: obs, next_obs "N O"; reward, terminal "N".

        Computed in float64. Logs that hold only images have O = 0 and empty lists.
        """
        x, y, r = obs.double(), next_obs.double(), reward.double()
        mean = x.mean(0)
        std = _spread(x)
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
    """Standard deviation of each column, "N O" -> "O"."""
    # Without columns, torch would warn.
    return values.std(0, correction=0) if values.shape[1] else values.new_zeros(0)


@with_config(RECORD)
@dataclass(frozen=True)
class DataSpec:
    """Facts about the training split that a world model is built from; saved as JSON beside its weights."""

    statistics: Statistics
    obs_shapes: dict[str, list[PositiveInt]]
    action_dim: PositiveInt
    transitions: int
    task: str | None = None  # environment id; selects a known termination rule
