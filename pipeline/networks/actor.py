"""The networks policies are made of."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.envs.action_space import DISCRETE
from pipeline.networks.mlp import mlp

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0
LARGEST_ACTION = 0.999  # those at a bound would need infinite numbers before the squashing
DEFAULT_ENTROPY_RATIO = 0.3  # of the largest; at 0.98, which is published, a choice between two is hardly one
ActionValue = Callable[[Tensor], Tensor]  # actions "... B A" -> "... B"


class TanhGaussianActor(nn.Module):
    """A Gaussian squashed by tanh: state "B Z" -> action "B A" in [-1, 1] (SAC, Haarnoja et al. 2018)."""

    def __init__(self, state_dim: int, action_dim: int, hidden: list[int]) -> None:
        super().__init__()
        self.net = mlp([state_dim, *hidden, 2 * action_dim])
        self.action_dim = action_dim

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the squashing, both "B A"."""
        mean, log_std = self.net(state).chunk(2, dim=-1)
        # tanh keeps a gradient at the bounds, where a clamp would have none.
        span = 0.5 * (LOG_STD_HIGH - LOG_STD_LOW)
        return mean, LOG_STD_LOW + span * (torch.tanh(log_std) + 1)

    def sample(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """A reparameterized action "B A" and its log-density "B"."""
        raw, log_prob = self.sample_raw(state, generator)
        return torch.tanh(raw), log_prob

    def sample_raw(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """The same before the squashing: ``raw`` "B A" of the action tanh(raw), and that action's log-density "B"."""
        mean, log_std = self(state)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        raw = mean + log_std.exp() * noise
        return raw, _log_density(noise, log_std, raw)

    def log_prob(self, state: Tensor, raw: Tensor) -> Tensor:
        """Log-density "..." of the action tanh(raw), "... A" from states "... Z"; ``raw``, because tanh rounds to 1."""
        mean, log_std = self(state)
        return _log_density((raw - mean) * torch.exp(-log_std), log_std, raw)

    def mode(self, state: Tensor) -> Tensor:
        return torch.tanh(self(state)[0])

    def squash(self, raw: Tensor) -> Tensor:
        return torch.tanh(raw)

    def unsquash(self, action: Tensor) -> Tensor:
        """The ``raw`` of an action; those at a bound are taken as just inside it."""
        return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))

    def default_target_entropy(self, spread: tuple[float, ...] | None) -> float:
        """Minus the number of actions (Haarnoja et al. 2018), counted in units of ``spread``."""
        return sum(math.log(std) for std in spread or ()) - self.action_dim

    def entropy(self, state: Tensor, generator: Generator | None) -> Tensor:
        """An estimate "B" from one sample, with its gradient."""
        return -self.sample(state, generator)[1]

    def expect(self, value: ActionValue, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """The expected ``value`` "... B" of an action, and the expected log-density "B", from one sample."""
        action, log_prob = self.sample(state, generator)
        return value(action), log_prob

    def imitation_loss(self, state: Tensor, action: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Squared distance "B A" of the mode from logged actions "B A", in units of ``scale`` "A"."""
        return ((self.mode(state) - action) / scale).square()


class CategoricalActor(nn.Module):
    """One of A actions: state "B Z" -> one-hot action "B A". It answers as :class:`TanhGaussianActor` does, and needs
    no sample for an expectation (SAC-Discrete, Christodoulou 2019, arXiv:1910.07207)."""

    def __init__(self, state_dim: int, action_dim: int, hidden: list[int]) -> None:
        super().__init__()
        self.net = mlp([state_dim, *hidden, action_dim])
        self.action_dim = action_dim

    def forward(self, state: Tensor) -> Tensor:
        """Log-probabilities "B A"."""
        return F.log_softmax(self.net(state), dim=-1)

    def sample(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """A one-hot action "B A" and its log-probability "B". Its gradient is that of the probabilities (straight
        through: Bengio et al. 2013, arXiv:1308.3432)."""
        log_prob = self(state)
        probs = log_prob.exp()
        chosen = torch.multinomial(probs.detach(), 1, generator=generator)
        action = torch.zeros_like(probs).scatter_(-1, chosen, 1.0) + (probs - probs.detach())
        return action, log_prob.gather(-1, chosen).squeeze(-1)

    def sample_raw(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        return self.sample(state, generator)

    def log_prob(self, state: Tensor, raw: Tensor) -> Tensor:
        """Log-probability "..." of one-hot actions "... A" from states "... Z"."""
        return (self(state) * raw).sum(-1)

    def mode(self, state: Tensor) -> Tensor:
        logits = self.net(state)
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)

    def squash(self, raw: Tensor) -> Tensor:
        return raw

    def unsquash(self, action: Tensor) -> Tensor:
        return action

    def default_target_entropy(self, spread: tuple[float, ...] | None) -> float:
        """A share of the largest; ``spread`` does not matter."""
        return DEFAULT_ENTROPY_RATIO * math.log(self.action_dim)

    def entropy(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Exact, "B"."""
        log_prob = self(state)
        return -(log_prob.exp() * log_prob).sum(-1)

    def expect(self, value: ActionValue, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Exact: ``value`` is asked about every action at once, "A B A" -> "... A B"."""
        log_prob = self(state)
        probs = log_prob.exp()
        every = torch.eye(self.action_dim, device=state.device)[:, None].expand(-1, len(state), -1)
        return (probs.T * value(every)).sum(-2), (probs * log_prob).sum(-1)

    def imitation_loss(self, state: Tensor, action: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Cross-entropy "B 1" of logged one-hot actions "B A", in nats; ``scale`` does not matter."""
        return -self.log_prob(state, action)[:, None]


ActorNetwork = TanhGaussianActor | CategoricalActor


def actor_for(kind: str, state_dim: int, action_dim: int, hidden: list[int]) -> ActorNetwork:
    """``kind`` is that of the actions."""
    return (CategoricalActor if kind == DISCRETE else TanhGaussianActor)(state_dim, action_dim, hidden)


def _log_density(noise: Tensor, log_std: Tensor, raw: Tensor) -> Tensor:
    log_prob = (-0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
    # log(1 - tanh(x)^2) in a form that does not lose digits for large |x|
    correction = 2 * (math.log(2) - raw - F.softplus(-2 * raw))
    return log_prob - correction.sum(-1)
