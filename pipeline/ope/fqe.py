"""Fitted Q evaluation (Le et al. 2019, arXiv:1903.08738; how well it ranks policies: Voloshin et al. 2021,
arXiv:1911.06854): the value of a fixed policy from logged transitions alone.

A value is kept as a reward per step, q = (1 - discount) Q: it lies within the logged rewards whatever the discount is.
"""

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.networks.critic import Critics, polyak_update
from pipeline.ope import OfflineConfig
from pipeline.policies.losses import td_target
from pipeline.types import TensorFields

LAST = 0.1  # share of the updates over which drift and clamping are looked at
MARGIN = 0.05  # of the range of logged rewards: a target clamped by more has left it, by less is noise at its edge


@dataclass(frozen=True)
class Experience(TensorFields):
    """Logged steps, and what the judged policy would do after them. ``terminal`` is a true end; a time limit is none,
    and is bootstrapped from like any other step."""

    state: Annotated[Tensor, "B Z"]
    action: Annotated[Tensor, "B A"]  # in [-1, 1]
    reward: Annotated[Tensor, "B"]
    next_state: Annotated[Tensor, "B Z"]
    next_action: Annotated[Tensor, "B A"]
    terminal: Annotated[Tensor, "B"]
    episode: Annotated[Tensor, "B"]  # which one, from 0 on


@dataclass(frozen=True)
class Scale:
    """Of the logged reward: the unit critics work in, and the range no value per step can leave."""

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, reward: Tensor, terminal: Tensor) -> "Scale":
        low, high, std = float(reward.min()), float(reward.max()), float(reward.std(correction=0))
        if terminal.any():  # after an end there is nothing, for ever
            low, high = min(low, 0.0), max(high, 0.0)
        return cls(float(reward.mean()), std or 1.0, low, high)


class FittedQ(nn.Module):
    """K critics in one batched product, each weighting episodes by its own bootstrap, and slow copies to aim at."""

    def __init__(self, config: OfflineConfig, state_dim: int, action_dim: int, scale: Scale) -> None:
        super().__init__()
        self.config, self.scale = config, scale
        self.critics = Critics(config.critics, state_dim, action_dim, config.hidden, layer_norm=True)
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)
        # At a constant rate: a decaying one would stop the drift before the values have settled.
        self.optimizer = torch.optim.Adam(self.critics.parameters(), lr=config.learning_rate, fused=True)

    def per_step(self, state: Tensor, action: Tensor) -> Annotated[Tensor, "K B"]:
        """Every slow critic's value as a reward per step, within what logged rewards allow."""
        q = self.scale.mean + self.scale.std * self.slow(state, action)
        return q.clamp(self.scale.low, self.scale.high)

    def update(self, batch: Experience, weight: Annotated[Tensor, "K B"], discount: float) -> Tensor:
        """One gradient step; the share of targets that left the possible range."""
        with torch.no_grad():
            target, clamped = self.targets(batch, discount)
        said = self.critics(batch.state, batch.action)
        loss = F.huber_loss if self.config.loss == "huber" else F.mse_loss
        error = loss(said, (target - self.scale.mean) / self.scale.std, reduction="none")
        self.optimizer.zero_grad(set_to_none=True)
        (weight * error).mean(1).sum().backward()
        self.optimizer.step()
        polyak_update(self.slow, self.critics, self.config.target_rate)
        return clamped

    def targets(self, batch: Experience, discount: float) -> tuple[Annotated[Tensor, "K B"], Tensor]:
        """(1 - discount) r + discount q(s', pi(s')), nothing after a terminal, and the share that
        left the possible range."""
        s = self.scale
        next_q = s.mean + s.std * self.slow(batch.next_state, batch.next_action)
        nothing = torch.zeros_like(next_q)
        target = td_target((1 - discount) * batch.reward, batch.terminal, next_q, nothing, discount)
        possible = target.clamp(s.low, s.high)
        return possible, ((target - possible).abs() > MARGIN * (s.high - s.low)).float().mean()


@dataclass(frozen=True)
class Fitted:
    """``per_step`` "K N" at the starts; ``drift`` is how far its mean still moved over the last tenth of the updates,
    ``clamped`` the share of targets clamped meanwhile: both near zero where the fit has settled."""

    per_step: Annotated[Tensor, "K N"]
    drift: float
    clamped: float


def fit(config: OfflineConfig, data: Experience, start: Tensor, start_action: Tensor, generator: Generator) -> Fitted:
    """Fit to ``data`` and answer at starts "N Z" with the policy's actions there "N A"."""
    scale, settled = Scale.of(data.reward, data.terminal), int((1 - LAST) * config.updates)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        q = FittedQ(config, data.state.shape[1], data.action.shape[1], scale)
    weights = bootstrap_weights(config.critics, int(data.episode.max()) + 1, generator)
    before, clamped = 0.0, []
    for update in range(config.updates):
        if update == settled:
            before = float(q.per_step(start, start_action).mean())
        batch = data[torch.randint(len(data), (config.batch_size,), generator=generator)]
        discount = growing_discount(config.discount, update / config.updates)
        clamped.append(q.update(batch, weights[:, batch.episode], discount))
    with torch.no_grad():
        found = q.per_step(start, start_action)
    last = torch.stack(clamped[settled:]).mean()
    return Fitted(found, float(found.mean()) - before, float(last))


def growing_discount(discount: float, done: float) -> float:
    """The discount once a share ``done`` of the updates is: its horizon 1 / (1 - discount) grows from one step to all
    of it over the first half (Francois-Lavet et al. 2015, arXiv:1512.02011). A value per step carries over from one
    horizon to the next; at the full one from the start, a wrong first guess would take many horizons to forget."""
    return 1 - (1 - discount) ** min(2 * done, 1.0)


def bootstrap_weights(critics: int, episodes: int, generator: Generator) -> Annotated[Tensor, "K E"]:
    """How often each episode comes in each critic's resample of the episodes. One critic sees all of them once."""
    if critics == 1:
        return torch.ones(1, episodes)
    drawn = torch.randint(episodes, (critics, episodes), generator=generator)
    return torch.zeros(critics, episodes).scatter_add_(1, drawn, torch.ones(critics, episodes))
