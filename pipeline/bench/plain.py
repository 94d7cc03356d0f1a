"""Reference implementations with Python loops over networks of ``nn.Linear``, PyTorch's default Adam and separate
critics. They show what batching gains; tests check that losses and gradients are equal."""

import copy

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.networks.mlp import StackedLinear
from pipeline.policies.losses import absorbing_value, pessimistic_reward, td_target
from pipeline.policies.sac import SAC
from pipeline.types import Prediction, Step, Transitions
from pipeline.world_models.gaussian_ensemble import GaussianEnsemble
from pipeline.world_models.termination import NoTermination


def unstack(net: nn.Sequential, member: int) -> nn.Sequential:
    """One member of a stacked network as ``nn.Linear`` layers with copies of its weights."""
    modules: list[nn.Module] = []
    for module in net:
        if not isinstance(module, StackedLinear):
            modules.append(copy.deepcopy(module))
            continue
        _, inputs, outputs = module.weight.shape
        linear = nn.Linear(inputs, outputs, device=module.weight.device, dtype=module.weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(module.weight[member].T)
            linear.bias.copy_(module.bias[member, 0])
        modules.append(linear)
    return nn.Sequential(*modules)


class PlainEnsemble:
    """A list of Gaussian networks with copies of the weights of ``fused``."""

    def __init__(self, fused: GaussianEnsemble) -> None:
        assert isinstance(fused.termination, NoTermination)
        self.fused = fused
        self.reward_scale = fused.reward_scale
        self.nets = [unstack(fused.net, m) for m in range(fused.config.members)]
        self.low = [nn.Parameter(x.detach().clone()) for x in fused.low]
        self.high = [nn.Parameter(x.detach().clone()) for x in fused.high]

    def loss(self, batch: Transitions) -> Tensor:
        """Gaussian negative log-likelihood, summed over members, of batches with "M B ..." fields."""
        losses = []
        for m in range(len(self.nets)):
            member_batch = Transitions(**{name: field[m] for name, field in vars(batch).items()})
            mean, log_variance = self._member(m, torch.cat([member_batch.state, member_batch.action], dim=-1))
            error = (mean - self.fused.targets(member_batch)).square()
            bounds = self.fused.config.bound_weight * (self.high[m] - self.low[m]).mean()
            losses.append((error * torch.exp(-log_variance) + log_variance).mean() + bounds)
        return torch.stack(losses).sum()

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam with the weight decay of each layer."""
        decays = [m.weight_decay for m in self.fused.net if isinstance(m, StackedLinear)]
        groups: list[dict] = []
        for net in self.nets:
            layers = [m for m in net if isinstance(m, nn.Linear)]
            groups += [{"params": [x.weight], "weight_decay": d} for x, d in zip(layers, decays, strict=True)]
            groups.append({"params": [x.bias for x in layers], "weight_decay": 0.0})
        groups.append({"params": [*self.low, *self.high], "weight_decay": 0.0})
        return torch.optim.Adam(groups, lr=self.fused.config.learning_rate)

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """Mean and standard deviation "M B D" for states "B Z" and actions "B A"."""
        x = torch.cat([state, action], dim=-1)
        mean, log_variance = zip(*(self._member(m, x) for m in range(len(self.nets))), strict=True)
        spread = torch.exp(0.5 * torch.stack(log_variance))
        return Prediction(torch.stack(mean), spread, state.new_empty(len(state), 0))

    def draw(
        self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator, member: Tensor | None = None
    ) -> Step:
        """The step that ``fused`` draws."""
        return self.fused.draw(state, action, prediction, generator, member)

    def sample_members(self, generator: Generator) -> "PlainEnsemble":
        """This ensemble; it draws nothing."""
        return self

    def _member(self, m: int, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.nets[m](x).chunk(2, dim=-1)
        below = self.high[m] - F.softplus(self.high[m] - raw)
        return mean, self.low[m] + F.softplus(below - self.low[m])


class PlainSAC:
    """Soft actor-critic with separate critics. The actor's loss computes gradients of the critics' weights too."""

    def __init__(self, fused: SAC) -> None:
        self.fused = fused
        self.config = fused.config
        self.actor = copy.deepcopy(fused.actor)
        self.critics = nn.ModuleList(unstack(fused.critics.net, n) for n in range(self.config.critics))
        self.target_critics = copy.deepcopy(self.critics)
        self.log_alpha = nn.Parameter(fused.log_alpha.detach().clone())
        c = self.config
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=c.actor_learning_rate)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=c.critic_learning_rate)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=c.alpha_learning_rate)

    def update(self, batch: Transitions, generator: Generator) -> tuple[Tensor, Tensor]:
        """One update with a constant learning rate; returns the losses of the critics and of the actor."""
        critic_loss = self.critic_loss(batch, generator)
        _descend(self.critic_optimizer, critic_loss)
        actor_loss, log_prob = self.actor_loss(batch, generator)
        _descend(self.actor_optimizer, actor_loss)
        entropy_gap = (log_prob.detach() + self.fused.target_entropy).mean()
        _descend(self.alpha_optimizer, -self.log_alpha.exp() * entropy_gap)
        with torch.no_grad():
            pairs = zip(self.target_critics.parameters(), self.critics.parameters(), strict=True)
            for target, source in pairs:
                target.lerp_(source, self.config.target_rate)
        return critic_loss.detach(), actor_loss.detach()

    def critic_loss(self, batch: Transitions, generator: Generator) -> Tensor:
        """Squared error from the pessimistic target, summed over critics."""
        with torch.no_grad():
            next_action, _ = self.actor.sample(batch.next_state, generator)
            next_value = self._least(self.target_critics, batch.next_state, next_action)
            pessimism = (batch.penalty, self.fused.penalty_weight, self.fused.penalty_limit)
            end_value = absorbing_value(*pessimism, self.config.discount)
            reward = pessimistic_reward(batch.reward, *pessimism)
            target = td_target(reward, batch.terminal, next_value, end_value, self.config.discount)
            target = target.clamp(*self.fused.value_range)
        x = torch.cat([batch.state, batch.action], dim=-1)
        return torch.stack([F.mse_loss(critic(x).squeeze(-1), target) for critic in self.critics]).sum()

    def actor_loss(self, batch: Transitions, generator: Generator) -> tuple[Tensor, Tensor]:
        """The actor's loss and the log-probabilities "B" of its actions."""
        action, log_prob = self.actor.sample(batch.state, generator)
        value = self._least(self.critics, batch.state, action)
        return (self.log_alpha.detach().exp() * log_prob - value).mean(), log_prob

    def _least(self, critics: nn.ModuleList, state: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([state, action], dim=-1)
        return torch.stack([critic(x).squeeze(-1) for critic in critics]).amin(0)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
