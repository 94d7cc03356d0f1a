"""Scales of the logged data, and the facts about the data that a world model is built from."""

from collections.abc import Mapping, Sequence
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

    Exogenous features are given, never predicted. A flagged feature holds its last measured value where its flag, an
    exogenous feature, is 0: that row says nothing about the change of the feature, so no statistic of it counts there.
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
    exogenous: list[NonNegativeInt] = field(default_factory=list)  # features that no action changes
    exogenous_delta_std: list[PositiveFloat] = field(default_factory=list)  # of their normalized changes
    flags: dict[int, int] = field(default_factory=dict)  # feature -> its 0/1 flag "measured"

    @property
    def changing(self) -> list[int]:
        """Active features that are neither settings nor exogenous. A Markov model predicts these and copies the
        others."""
        copied = {*self.settings, *self.exogenous}
        return [i for i in self.active if i not in copied]

    @classmethod
    def of(
        cls,
        obs: Tensor,
        next_obs: Tensor,
        reward: Tensor,
        terminal: Tensor,
        exogenous: Sequence[int] = (),
        flags: Mapping[int, int] | None = None,
    ) -> "Statistics":
        """Statistics of training transitions in the log's own units: obs, next_obs "N O"; reward, terminal "N".

        ``exogenous`` and ``flags`` are indices of features, as in the fields of the same names. Computed in
        float64. Logs that hold only images have O = 0 and empty lists.
        """
        x, y, r = obs.double(), next_obs.double(), reward.double()
        mean = x.mean(0)
        std = _spread(x)
        varies = std > CONSTANT * x.abs().amax(0).clamp(min=1.0)
        std = torch.where(varies, std, torch.ones_like(std))
        flags = dict(flags or {})
        measured = measured_features(next_obs, flags)
        active = varies.nonzero().squeeze(1)
        given = torch.isin(active, torch.tensor(list(exogenous), dtype=torch.long))
        seldom = moments((y != x).double(), measured)[0][active] < SELDOM
        changing = active[~seldom & ~given]
        delta = (y - x) / std
        delta_mean, delta_std = moments(delta[:, changing], measured[:, changing])
        given_std = _spread(delta[:, list(exogenous)])
        reward_std = float(r.std(correction=0))
        return cls(
            obs_mean=mean.tolist(),
            obs_std=std.tolist(),
            obs_min=torch.minimum(x.amin(0), y.amin(0)).tolist(),
            obs_max=torch.maximum(x.amax(0), y.amax(0)).tolist(),
            active=active.tolist(),
            delta_mean=delta_mean.tolist(),
            delta_std=or_one(delta_std).tolist(),
            reward_mean=float(r.mean()),
            reward_std=reward_std if reward_std > CONSTANT else 1.0,
            reward_min=float(r.min()),
            reward_max=float(r.max()),
            terminals=int(terminal.sum()),
            settings=active[seldom & ~given].tolist(),
            exogenous=list(exogenous),
            exogenous_delta_std=or_one(given_std).tolist(),
            flags=flags,
        )


def or_one(std: Tensor) -> Tensor:
    """Standard deviations that can divide: 1 in place of 0."""
    return torch.where(std > CONSTANT, std, torch.ones_like(std))


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each column, "N O" -> "O"."""
    # Without columns, torch would warn.
    return values.std(0, correction=0) if values.shape[1] else values.new_zeros(0)


def measured_features(obs: Tensor, flags: Mapping[int, int]) -> Tensor:
    """Which features of raw observations "... O" were measured, float64 1 or 0, "... O": all but flagged ones whose
    flag is 0. Without flags "1 O", which broadcasts."""
    if not flags:
        return torch.ones(1, obs.shape[-1], dtype=torch.float64, device=obs.device)
    measured = torch.ones_like(obs, dtype=torch.float64)
    measured[..., list(flags)] = (obs[..., list(flags.values())] > 0.5).double()
    return measured


def moments(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation "O" of each column of ``values`` "N O" over the rows where ``counted`` "N O" is 1;
    "1 O" counts all rows."""
    if len(counted) == 1:
        return values.mean(0), _spread(values)
    total = counted.sum(0).clamp(min=1)
    mean = (values * counted).sum(0) / total
    return mean, (((values - mean) * counted).square().sum(0) / total).sqrt()


@with_config(RECORD)
@dataclass(frozen=True)
class DataSpec:
    """Facts about the training split that a world model is built from; saved as JSON beside its weights."""

    statistics: Statistics
    obs_shapes: dict[str, list[PositiveInt]]
    action_dim: PositiveInt
    transitions: int
    task: str | None = None  # environment id; selects a known termination rule
