"""Actor networks: distributions of actions given a state."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.envs.action_space import DISCRETE
from pipeline.networks.mlp import mlp

LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0
LARGEST_ACTION = 0.999  # the inverse of tanh is infinite at a bound
DEFAULT_ENTROPY_RATIO = 0.3  # of the maximum; with the published 0.98, two actions are nearly equally likely
ActionValue = Callable[[Tensor], Tensor]  # actions "... B A" -> "... B"


class TanhGaussianActor(nn.Module):
    """A Gaussian squashed by tanh: state "B Z" -> action "B A" in [-1, 1] (SAC, Haarnoja et al. 2018,
    arXiv:1801.01290)."""

    def __init__(self, state_dim: int, action_dim: int, hidden: list[int]) -> None:
        super().__init__()
        self.net = mlp([state_dim, *hidden, 2 * action_dim])
        self.action_dim = action_dim

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the Gaussian before tanh, each "B A"."""
        mean, log_std = self.net(state).chunk(2, dim=-1)
        # Unlike a clamp, tanh has a gradient at the bounds.
        span = 0.5 * (LOG_STD_HIGH - LOG_STD_LOW)
        return mean, LOG_STD_LOW + span + span * torch.tanh(log_std)

    def sample(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """A reparameterized action "B A" and its log-density "B"."""
        pre_tanh, log_prob = self.sample_raw(state, generator)
        return torch.tanh(pre_tanh), log_prob

    def sample_raw(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """A sample ``pre_tanh`` "B A" of the Gaussian, and the log-density "B" of the action tanh(pre_tanh)."""
        mean, log_std = self(state)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        pre_tanh = mean + log_std.exp() * noise
        return pre_tanh, _log_density(noise, log_std, pre_tanh)

    def log_prob(self, state: Tensor, pre_tanh: Tensor) -> Tensor:
        """Log-density "..." of the actions tanh(pre_tanh) "... A" in states "... Z". It takes ``pre_tanh`` because the
        action itself may round to 1."""
        mean, log_std = self(state)
        return _log_density((pre_tanh - mean) * torch.exp(-log_std), log_std, pre_tanh)

    def mode(self, state: Tensor) -> Tensor:
        """The action "B A" at the mean of the Gaussian."""
        return torch.tanh(self(state)[0])

    def squash(self, pre_tanh: Tensor) -> Tensor:
        """The actions "... A" in [-1, 1] of ``pre_tanh`` "... A"."""
        return torch.tanh(pre_tanh)

    def unsquash(self, action: Tensor) -> Tensor:
        """The inverse of :meth:`squash`. Actions beyond ``LARGEST_ACTION`` are clamped to it."""
        return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))

    def default_target_entropy(self, spread: tuple[float, ...] | None) -> float:
        """Minus the number of action dimensions (Haarnoja et al. 2018, arXiv:1812.05905), in nats. ``spread`` gives the
        standard deviation of each dimension in the logs; the target is then for actions in these units."""
        return sum(math.log(std) for std in spread or ()) - self.action_dim

    def entropy(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Entropy "B" in nats, estimated from one reparameterized sample."""
        return -self.sample(state, generator)[1]

    def expect(self, value: ActionValue, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Expectations over actions, estimated from one sample: of ``value`` "... B", and of the log-density "B"."""
        action, log_prob = self.sample(state, generator)
        return value(action), log_prob

    def imitation_loss(self, state: Tensor, action: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Squared error "B A" of the mode against logged actions "B A", in units of ``scale`` "A"."""
        return ((self.mode(state) - action) / scale).square()


class CategoricalActor(nn.Module):
    """A categorical over A actions: state "B Z" -> one-hot action "B A". It has the methods of
    :class:`TanhGaussianActor`; expectations are exact (SAC-Discrete, Christodoulou 2019, arXiv:1910.07207)."""

    def __init__(self, state_dim: int, action_dim: int, hidden: list[int]) -> None:
        super().__init__()
        self.net = mlp([state_dim, *hidden, action_dim])
        self.action_dim = action_dim

    def forward(self, state: Tensor) -> Tensor:
        """Log-probabilities "B A"."""
        return F.log_softmax(self.net(state), dim=-1)

    def sample(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """A one-hot action "B A" and its log-probability "B". The gradient of the action is that of the probabilities
        (straight-through, Bengio et al. 2013, arXiv:1308.3432)."""
        log_prob = self(state)
        probs = log_prob.exp()
        index = torch.multinomial(probs.detach(), 1, generator=generator)
        action = torch.zeros_like(probs).scatter_(-1, index, 1.0) + (probs - probs.detach())
        return action, log_prob.gather(-1, index).squeeze(-1)

    def sample_raw(self, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """The same as :meth:`sample`: one-hot actions are not squashed."""
        return self.sample(state, generator)

    def log_prob(self, state: Tensor, action: Tensor) -> Tensor:
        """Log-probability "..." of one-hot actions "... A" in states "... Z"."""
        return (self(state) * action).sum(-1)

    def mode(self, state: Tensor) -> Tensor:
        """The most likely action, one-hot, "B A"."""
        logits = self.net(state)
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)

    def squash(self, action: Tensor) -> Tensor:
        """``action`` unchanged."""
        return action

    def unsquash(self, action: Tensor) -> Tensor:
        """``action`` unchanged."""
        return action

    def default_target_entropy(self, spread: tuple[float, ...] | None) -> float:
        """``DEFAULT_ENTROPY_RATIO`` of the maximum entropy, in nats; ``spread`` is ignored."""
        return DEFAULT_ENTROPY_RATIO * math.log(self.action_dim)

    def entropy(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Exact entropy "B" in nats; nothing is drawn."""
        log_prob = self(state)
        return -(log_prob.exp() * log_prob).sum(-1)

    def expect(self, value: ActionValue, state: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Exact expectations over actions: of ``value`` "... B", and of the log-probability "B". ``value`` is called
        once, with all actions: "A B A" -> "... A B"."""
        log_prob = self(state)
        probs = log_prob.exp()
        all_actions = torch.eye(self.action_dim, device=state.device)[:, None].expand(-1, len(state), -1)
        return (probs.T * value(all_actions)).sum(-2), (probs * log_prob).sum(-1)

    def imitation_loss(self, state: Tensor, action: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Cross-entropy "B 1" of logged one-hot actions "B A", in nats; ``scale`` is ignored."""
        return -self.log_prob(state, action)[:, None]


ActorNetwork = TanhGaussianActor | CategoricalActor


def actor_for(kind: str, state_dim: int, action_dim: int, hidden: list[int]) -> ActorNetwork:
    """A new actor for actions of ``kind``: continuous or discrete."""
    return (CategoricalActor if kind == DISCRETE else TanhGaussianActor)(state_dim, action_dim, hidden)


def _log_density(noise: Tensor, log_std: Tensor, pre_tanh: Tensor) -> Tensor:
    # The normal density, and log(1 - tanh(x)^2) in a form that keeps its precision for large |x|; constants come last.
    correction = pre_tanh + F.softplus(-2 * pre_tanh)
    summed = (2 * correction - log_std - 0.5 * noise.square()).sum(-1)
    return summed - noise.shape[-1] * (0.5 * math.log(2 * math.pi) + 2 * math.log(2))
