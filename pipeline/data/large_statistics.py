"""Statistics of logs that do not fit in memory, a limited number of steps at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders.statistics import CONSTANT, SELDOM, Statistics, measured_features, or_one

CHUNK = 1 << 16  # steps in memory at a time


@dataclass(frozen=True)
class Steps:
    """Consecutive training steps, float64."""

    obs: Tensor  # "N O"
    next_obs: Tensor  # "N O"
    reward: Tensor  # "N 1"
    terminals: int
    measured: Tensor  # "N O", 1.0 where the next value of a feature counts


def large_statistics(dataset: PreparedDataset) -> Statistics:
    """:meth:`Statistics.of` the training split, equal up to the order of float64 sums. Reads the log eight times."""
    exogenous, flags = dataset.spec.flat_exogenous, dataset.spec.flat_flags

    def parts() -> Iterator[Steps]:
        return _parts(dataset, flags)

    every = torch.ones(1, 1)
    low, high, largest, terminals = _extremes(parts())
    both_mean, both_std = _moments(parts, lambda s: torch.cat([s.obs, s.reward], 1), lambda s: every)
    mean, std, reward_std = both_mean[:-1], both_std[:-1], float(both_std[-1])
    varies = std > CONSTANT * largest.clamp(min=1.0)
    std = torch.where(varies, std, torch.ones_like(std))
    active = varies.nonzero().squeeze(1)
    given = torch.isin(active, torch.tensor(exogenous, dtype=torch.long))
    seldom = _mean(parts, lambda s: (s.next_obs != s.obs).double(), lambda s: s.measured)[active] < SELDOM
    changing = active[~seldom & ~given]
    delta_mean, delta_std = _moments(
        parts, lambda s: ((s.next_obs - s.obs) / std)[:, changing], lambda s: s.measured[:, changing]
    )
    given_std = _moments(parts, lambda s: ((s.next_obs - s.obs) / std)[:, exogenous], lambda s: every)[1]
    return Statistics(
        obs_mean=mean.tolist(),
        obs_std=std.tolist(),
        obs_min=low[:-1].tolist(),
        obs_max=high[:-1].tolist(),
        active=active.tolist(),
        delta_mean=delta_mean.tolist(),
        delta_std=or_one(delta_std).tolist(),
        reward_mean=float(both_mean[-1]),
        reward_std=reward_std if reward_std > CONSTANT else 1.0,
        reward_min=float(low[-1]),
        reward_max=float(high[-1]),
        terminals=terminals,
        settings=active[seldom & ~given].tolist(),
        exogenous=exogenous,
        exogenous_delta_std=or_one(given_std).tolist(),
        flags=flags,
    )


def _parts(dataset: PreparedDataset, flags: dict[int, int]) -> Iterator[Steps]:
    starts = dataset.starts("train", 1)
    for first in range(0, len(starts), CHUNK):
        rows = starts[np.arange(first, min(first + CHUNK, len(starts)))]
        obs, next_obs = (torch.from_numpy(dataset.flat_obs(at)).double() for at in (rows, rows + 1))
        reward = torch.from_numpy(dataset.reward[rows]).double()[:, None]
        measured = measured_features(next_obs, flags).expand_as(obs)
        yield Steps(obs, next_obs, reward, int(dataset.terminal[rows].sum()), measured)


def _extremes(parts: Iterator[Steps]) -> tuple[Tensor, Tensor, Tensor, int]:
    """Smallest and largest value "O+1" of each feature and of the reward, the largest size "O" of a feature before a
    step, and the number of terminals."""
    part = next(parts)
    low, high, largest, terminals = *_ends(part), part.obs.abs().amax(0), part.terminals
    for part in parts:
        part_low, part_high = _ends(part)
        low, high = torch.minimum(low, part_low), torch.maximum(high, part_high)
        largest, terminals = torch.maximum(largest, part.obs.abs().amax(0)), terminals + part.terminals
    return low, high, largest, terminals


def _ends(part: Steps) -> tuple[Tensor, Tensor]:
    low = torch.cat([torch.minimum(part.obs.amin(0), part.next_obs.amin(0)), part.reward.amin(0)])
    high = torch.cat([torch.maximum(part.obs.amax(0), part.next_obs.amax(0)), part.reward.amax(0)])
    return low, high


Term = Callable[[Steps], Tensor]


def _moments(parts: Callable[[], Iterator[Steps]], value: Term, counted: Term) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation "D" of the columns of ``value`` "N D" over the rows where ``counted`` is 1."""
    mean = _mean(parts, value, counted)
    return mean, _mean(parts, lambda s: (value(s) - mean).square(), counted).sqrt()


def _mean(parts: Callable[[], Iterator[Steps]], value: Term, counted: Term) -> Tensor:
    """Mean "D" of the columns of ``value`` "N D" over the rows where ``counted`` "N D" or "1 1" is 1."""
    # A running sum, because small tensors kept from every part would split the memory that large ones leave.
    total, count = torch.zeros(()), torch.zeros(())
    for part in parts():
        values = value(part)
        weight = counted(part).expand_as(values)
        total, count = total + (values * weight).sum(0), count + weight.sum(0)
    return total / count.clamp(min=1)
