"""Fitted Q evaluation (Le et al. 2019, arXiv:1903.08738; how well it ranks policies: Voloshin et al. 2021,
arXiv:1911.06854): the value of a fixed policy from logged transitions alone.

Values are kept as rewards per step, q = (1 - discount) Q, which lie within the logged rewards for every discount.
"""

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.networks.adam import LeanAdam
from pipeline.networks.critic import Critics, polyak_update
from pipeline.ope import OfflineConfig
from pipeline.policies.losses import td_target
from pipeline.types import TensorFields
from pipeline.validation.pace import paced

LAST = 0.1  # share of the updates, at the end, over which drift and clamping are measured
MARGIN = 0.05  # of the range of logged rewards: a target clamped by less counts as noise at the edge


@dataclass(frozen=True)
class Experience(TensorFields):
    """Logged steps, and the evaluated policy's actions after them. ``terminal`` marks true ends only; after a time
    limit, targets bootstrap as after any other step."""

    state: Annotated[Tensor, "B Z"]
    action: Annotated[Tensor, "B A"]  # in [-1, 1]
    reward: Annotated[Tensor, "B"]
    next_state: Annotated[Tensor, "B Z"]
    next_action: Annotated[Tensor, "B A"]
    terminal: Annotated[Tensor, "B"]
    episode: Annotated[Tensor, "B"]  # number of the episode, from 0 on


@dataclass(frozen=True)
class Scale:
    """Scale of the logged reward: the critics' unit, and the range of possible values per step."""

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, reward: Tensor, terminal: Tensor) -> "Scale":
        """The scale of rewards "B" with terminals "B"."""
        low, high, std = float(reward.min()), float(reward.max()), float(reward.std(correction=0))
        if terminal.any():  # every reward after an end is zero
            low, high = min(low, 0.0), max(high, 0.0)
        return cls(float(reward.mean()), std or 1.0, low, high)


class FittedQ(nn.Module):
    """K critics in one batched product, each with its own bootstrap weights of the episodes, and slow target copies."""

    def __init__(self, config: OfflineConfig, state_dim: int, action_dim: int, scale: Scale) -> None:
        super().__init__()
        self.config, self.scale = config, scale
        self.critics = Critics(config.critics, state_dim, action_dim, config.hidden, layer_norm=True)
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)
        # A constant learning rate: a decaying one would stop the drift before the values have converged.
        self.optimizer = LeanAdam(self.critics.parameters(), lr=config.learning_rate)

    def per_step(self, state: Tensor, action: Tensor) -> Annotated[Tensor, "K B"]:
        """Every slow critic's value as a reward per step, clamped to the range of logged rewards."""
        q = self.scale.mean + self.scale.std * self.slow(state, action)
        return q.clamp(self.scale.low, self.scale.high)

    def update(self, batch: Experience, weight: Annotated[Tensor, "K B"], discount: float) -> Tensor:
        """One gradient step. Returns the share of targets outside the possible range, a scalar."""
        with torch.no_grad():
            target, clamped = self.targets(batch, discount)
        predicted = self.critics(batch.state, batch.action)
        loss = F.huber_loss if self.config.loss == "huber" else F.mse_loss
        error = loss(predicted, (target - self.scale.mean) / self.scale.std, reduction="none")
        self.optimizer.zero_grad(set_to_none=True)
        (weight * error).mean(1).sum().backward()
        self.optimizer.step()
        polyak_update(self.slow, self.critics, self.config.target_rate)
        return clamped

    def targets(self, batch: Experience, discount: float) -> tuple[Annotated[Tensor, "K B"], Tensor]:
        """(1 - discount) r + discount q(s', pi(s')), without the second term after a terminal, clamped to the possible
        range; and the share of targets that were outside of it."""
        s = self.scale
        next_q = s.mean + s.std * self.slow(batch.next_state, batch.next_action)
        no_penalty = torch.zeros_like(next_q)
        target = td_target((1 - discount) * batch.reward, batch.terminal, next_q, no_penalty, discount)
        possible = target.clamp(s.low, s.high)
        return possible, ((target - possible).abs() > MARGIN * (s.high - s.low)).float().mean()


@dataclass(frozen=True)
class Fitted:
    """The result of a fit. ``drift`` and ``clamped`` are near zero if it has converged."""

    per_step: Annotated[Tensor, "K N"]  # values at the starts, as rewards per step
    drift: float  # change of their mean over the last tenth of the updates
    clamped: float  # share of targets clamped meanwhile


def fit(config: OfflineConfig, data: Experience, start: Tensor, start_action: Tensor, generator: Generator) -> Fitted:
    """Fit critics to ``data`` and evaluate them at starts "N Z" with the policy's actions there "N A"."""
    scale = Scale.of(data.reward, data.terminal)
    measured_from = int((1 - LAST) * config.updates)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        q = FittedQ(config, data.state.shape[1], data.action.shape[1], scale)
    weights = bootstrap_weights(config.critics, int(data.episode.max()) + 1, generator)
    before = 0.0
    clamped = []
    for update in paced(range(config.updates), "fitted Q: {} updates", config.updates):
        if update == measured_from:
            before = float(q.per_step(start, start_action).mean())
        batch = data[torch.randint(len(data), (config.batch_size,), generator=generator)]
        discount = growing_discount(config.discount, update / config.updates)
        clamped.append(q.update(batch, weights[:, batch.episode], discount))
    with torch.no_grad():
        values = q.per_step(start, start_action)
    last = torch.stack(clamped[measured_from:]).mean()
    return Fitted(values, float(values.mean()) - before, float(last))


def growing_discount(discount: float, done: float) -> float:
    """The discount after a share ``done`` of the updates.

    The horizon 1 / (1 - discount) grows from one step to its full length over the first half of the updates
    (Francois-Lavet et al. 2015, arXiv:1512.02011). Values per step carry over from one horizon to the next. With the
    full horizon from the start, the error of the initial values would take many horizons to vanish.
    """
    return 1 - (1 - discount) ** min(2 * done, 1.0)


def bootstrap_weights(critics: int, episodes: int, generator: Generator) -> Annotated[Tensor, "K E"]:
    """How often each critic's bootstrap sample holds each episode. A single critic sees every episode once."""
    if critics == 1:
        return torch.ones(1, episodes)
    drawn = torch.randint(episodes, (critics, episodes), generator=generator)
    return torch.zeros(critics, episodes).scatter_add_(1, drawn, torch.ones(critics, episodes))
