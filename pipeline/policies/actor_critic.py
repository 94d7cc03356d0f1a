"""Actor-critic on imagined trajectories (Dreamer, Hafner et al. 2020, arXiv:1912.01603; 2021, arXiv:2010.02193; 2023,
arXiv:2301.04104): the actor climbs the gradient of its lambda-return through the world model itself. Discrete actions
pass it straight through (the second of these)."""

import copy
import math
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Generator, Tensor, nn

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.networks.distributions import HEADS, zero_last_layer
from pipeline.networks.mlp import mlp
from pipeline.networks.schedule import cosine_decay
from pipeline.policies.losses import absorbing_value, lambda_return, pessimistic_reward, survival_probability
from pipeline.policies.protocols import Critic
from pipeline.policies.task import LearnerSpec
from pipeline.types import Rollout, Transitions

GRADIENTS = ("dynamics", "reinforce")


@dataclass(frozen=True)
class ActorCriticConfig:
    updates: int = 5000
    batch_size: int = 64  # logged states that each update imagines from
    horizon: int = 15  # imagined steps; 5 where the model is trusted only nearby (V-D4RL, arXiv:2206.04779)
    hidden: list[int] = field(default_factory=lambda: [256, 256])
    gradient: str = "dynamics"  # through the model; reinforce: log-density times advantage, for models without one
    value_head: str = "two_hot"  # or unit_gaussian
    discount: float = 0.99
    td_lambda: float = 0.95  # lambda: 0 trusts the critic after one step, 1 only at the horizon
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    actor_decay: bool = True  # cosine decay of the actor's learning rate to zero
    target_rate: float = 0.02  # moving average of the slow critic, which returns bootstrap from
    entropy_weight: float = 3e-4  # beside returns scaled to a spread of about 1
    spread_rate: float = 0.01  # moving average of the returns' 5 and 95 % quantiles
    gradient_clip: float = 100.0  # largest norm of the gradient, of actor and critic each
    penalty_clip: float = 10.0  # largest penalty that counts, in standard deviations of the logged reward

    def __post_init__(self) -> None:
        if min(self.updates, self.batch_size, self.horizon) < 1:
            raise ValueError("updates, batch_size and horizon must be at least 1")
        if not 0 < self.discount < 1 or not 0 <= self.td_lambda <= 1:
            raise ValueError(f"discount {self.discount} and td_lambda {self.td_lambda} must lie between 0 and 1")
        if self.gradient not in GRADIENTS or self.value_head not in HEADS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}; value_head one of {', '.join(HEADS)}")


class ActorCritic(nn.Module):
    """Actor, critic of states and its slow copy. Returns and values are in standard deviations of the logged reward."""

    Config = ActorCriticConfig
    imagines = False  # its batches are logged: it imagines on its own, from their states
    plans = False

    def __init__(self, config: ActorCriticConfig, task: LearnerSpec) -> None:
        super().__init__()
        self.config, self.reward_scale, self.penalty_weight = config, task.reward_std, task.penalty_weight
        self.actor = actor_for(task.action_kind, task.state_dim, task.action_dim, config.hidden)
        self.head = HEADS[config.value_head]()
        # Smooth, because the actor follows the critic's slope.
        self.critic = zero_last_layer(mlp([task.state_dim, *config.hidden, self.head.size], nn.SiLU))
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("return_quantiles", torch.zeros(2))
        self.return_quantiles: Annotated[Tensor, "2"]
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.actor_learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=config.critic_learning_rate, fused=True)
        self.updates_done = 0

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.actor_optimizer, self.critic_optimizer]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        assert imagination is not None, "learns in imagination alone"
        self._decay_actor()
        rollout, raw = self._imagine(batch.state, imagination, generator)
        returns, state = self._returns(rollout), rollout.state[:, :-1].detach()
        reached = rollout.alive * survival_probability(rollout.continue_prob.detach())
        logits = self.critic(state)
        value = self.head.decode(logits.detach())
        metrics = self._update_actor(state, raw.detach(), returns, value, reached, generator)
        loss = (reached * self.head.loss(logits, returns)).mean()
        self._descend(self.critic_optimizer, self.critic, loss)
        with torch.no_grad():
            slow: list[Tensor] = list(self.slow_critic.parameters())
            torch._foreach_lerp_(slow, list[Tensor](self.critic.parameters()), self.config.target_rate)
        self.updates_done += 1
        steps = rollout.alive.sum()
        return metrics | {
            "critic_loss": loss.detach(),
            "q_mean": value.mean() * self.reward_scale,
            "imagined_reward": (rollout.alive * rollout.reward.detach()).sum() / steps,
            "imagined_penalty": (rollout.alive * rollout.penalty.detach()).sum() / steps,
            "imagined_terminal_rate": (rollout.alive * rollout.terminal).sum() / steps,
        }

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        return self.actor.mode(state) if generator is None else self.actor.sample(state, generator)[0]

    def critic_for_states(self) -> Critic:
        return self

    def action_density(self) -> ActorNetwork:
        return self.actor

    def _imagine(
        self, start: Annotated[Tensor, "B Z"], imagination: Imagination, generator: Generator
    ) -> tuple[Rollout, Annotated[Tensor, "B T A"]]:
        """A rollout of the current policy, and its actions before the squashing."""
        raws: list[Tensor] = []

        def actor(state: Tensor, t: int, generator: Generator | None) -> Tensor:
            raws.append(self.actor.sample_raw(state, generator)[0])
            return self.actor.squash(raws[-1])

        with torch.set_grad_enabled(self.config.gradient == "dynamics"):
            rollout = imagination.rollout(
                actor, start, self.config.horizon, generator, value=lambda state: self.value(state, generator)
            )
        return rollout, torch.stack(raws, dim=1)

    def value(self, state: Annotated[Tensor, "B Z"], generator: Generator) -> Annotated[Tensor, "B"]:
        """What returns bootstrap from, in the log's unit of reward; nothing is drawn."""
        return self._value(state) * self.reward_scale

    def _value(self, state: Annotated[Tensor, "... Z"]) -> Annotated[Tensor, "..."]:
        """What returns bootstrap from: the slow critic's mean."""
        return self.head.decode(self.slow_critic(state))  # type: ignore[no-any-return]

    def _returns(self, rollout: Rollout) -> Annotated[Tensor, "B T"]:
        """Pessimistic lambda-returns.

        Both ways a step can end are weighted by the model's belief in them, which keeps a gradient where a choice would
        have none: going on is worth the value ahead, dying the penalty paid for ever (:func:`absorbing_value`), so that
        death does not pay. Past a predicted terminal nothing counts but that value ahead.
        """
        c, go_on = self.config, rollout.continue_prob
        pessimism = (rollout.penalty, self.penalty_weight, c.penalty_clip * self.reward_scale)
        after_end = (1 - go_on) * absorbing_value(*pessimism, c.discount)
        reward = (pessimistic_reward(rollout.reward, *pessimism) + c.discount * after_end) / self.reward_scale
        next_value = self._value(rollout.state[:, 1:])
        return lambda_return(reward, c.discount * go_on, next_value, c.td_lambda * (1 - rollout.terminal))

    def _update_actor(
        self, state: Tensor, raw: Tensor, returns: Tensor, value: Tensor, reached: Tensor, generator: Generator
    ) -> dict[str, Tensor]:
        spread = self._spread(returns.detach(), reached)
        if self.config.gradient == "dynamics":
            gain = returns / spread
        else:
            gain = self.actor.log_prob(state, raw) * (returns - value) / spread
        entropy = self.actor.entropy(state, generator)
        loss = -(reached * (gain + self.config.entropy_weight * entropy)).mean()
        self._descend(self.actor_optimizer, self.actor, loss)
        return {"actor_loss": loss.detach(), "entropy": entropy.detach().mean(), "return_spread": spread}

    def _spread(self, returns: Tensor, reached: Tensor) -> Tensor:
        """The returns' usual range, at least 1: larger returns are scaled down, small ones are not blown up."""
        taken = returns.masked_fill(reached == 0, math.nan).flatten()
        quantiles = torch.nanquantile(taken, taken.new_tensor([0.05, 0.95]))
        self.return_quantiles.lerp_(quantiles, self.config.spread_rate)
        return (self.return_quantiles[1] - self.return_quantiles[0]).clamp(min=1.0)

    def _descend(self, optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        parameters = list(module.parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)  # those of the world model would be thrown away
        nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        optimizer.step()

    def _decay_actor(self) -> None:
        c = self.config
        if c.actor_decay:
            rate = cosine_decay(c.actor_learning_rate, self.updates_done, c.updates)
            self.actor_optimizer.param_groups[0]["lr"] = rate
