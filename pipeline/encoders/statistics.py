"""Scales of the logged data, and the facts about the data that a world model is built from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator, with_config
from torch import Tensor

from pipeline.encoders.layout import Layout
from pipeline.validation import RECORD, NonNegativeInt, PositiveInt
from pipeline.validation.stored import FileName, Scale, Shape, Single

CONSTANT = 1e-6  # a feature is constant if its standard deviation is below this share of its magnitude
LARGEST_OBSERVATION = 10**7  # numbers
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

    obs_mean: list[Single]
    obs_std: list[Scale]  # 1 where the feature is constant
    obs_min: list[Single]
    obs_max: list[Single]
    active: list[NonNegativeInt]  # the features that vary
    delta_mean: list[Single]
    delta_std: list[Scale]
    reward_mean: Single
    reward_std: Scale
    reward_min: Single
    reward_max: Single
    terminals: NonNegativeInt
    settings: list[NonNegativeInt] = field(default_factory=list)  # active ones that seldom change in an episode
    exogenous: list[NonNegativeInt] = field(default_factory=list)  # features that no action changes
    exogenous_delta_std: list[Scale] = field(default_factory=list)  # of their normalized changes
    flags: dict[int, int] = field(default_factory=dict)  # feature -> its 0/1 flag "measured"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Checks what is read back: as many entries as features, and no others."""
        features = len(self.obs_mean)
        indices = [*self.active, *self.settings, *self.exogenous, *self.flags, *self.flags.values()]
        if not all(0 <= i < features for i in indices):
            raise ValueError(f"features are numbered from 0 to {features - 1}, not {min(indices)} to {max(indices)}")
        per_feature = {"obs_std": self.obs_std, "obs_min": self.obs_min, "obs_max": self.obs_max}
        per_change = {"delta_mean": self.delta_mean, "delta_std": self.delta_std}
        for entries, count in (
            (per_feature, features),
            (per_change, len(self.changing)),
            ({"exogenous_delta_std": self.exogenous_delta_std}, len(self.exogenous)),
        ):
            for name, numbers in entries.items():
                if len(numbers) != count:
                    raise ValueError(f"{name} has {len(numbers)} entries, expected {count}")
        return self

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
    obs_shapes: Annotated[dict[FileName, Shape], Field(min_length=1)]
    action_dim: PositiveInt
    transitions: NonNegativeInt
    task: str | None = None  # environment id; selects a known termination rule
    layout: Layout | None = None  # not in the files of earlier versions

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_features(self.obs_shapes, self.statistics)
        return self


def check_features(obs_shapes: Mapping[str, Sequence[int]], statistics: Statistics) -> None:
    """Raises ValueError unless ``statistics`` have an entry for each number of the vectors in ``obs_shapes``, and for
    images that no computer would hold."""
    if any(math.prod(shape) > LARGEST_OBSERVATION for shape in obs_shapes.values()):
        raise ValueError(f"obs_shapes hold an observation of more than {LARGEST_OBSERVATION:,} numbers")
    features, count = sum(math.prod(s) for s in obs_shapes.values() if len(s) < 3), len(statistics.obs_mean)
    if features != count:
        raise ValueError(f"obs_shapes hold {features} features, statistics.obs_mean {count}")
