"""Actor-critic on imagined trajectories (Dreamer, Hafner et al. 2020, arXiv:1912.01603; DreamerV2, 2021,
arXiv:2010.02193; DreamerV3, 2023, arXiv:2301.04104).

The actor maximizes its lambda-return by gradients through the world model. Discrete actions use straight-through
gradients (DreamerV2).
"""

import copy
import math
from dataclasses import field
from typing import Annotated

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.networks.critic import polyak_update
from pipeline.networks.distributions import HEADS, Head, zero_last_layer
from pipeline.networks.mlp import mlp
from pipeline.networks.schedule import follow_cosine
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import absorbing_value, lambda_return, pessimistic_reward, survival_probability
from pipeline.policies.optimizers import ActorAndCritics
from pipeline.policies.protocols import Critic
from pipeline.types import Rollout, Transitions
from pipeline.validation import (
    OPTIONS,
    Flag,
    Fraction,
    Horizon,
    LearningRate,
    NonNegativeFloat,
    OneOf,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Widths,
)

GRADIENTS = ("dynamics", "reinforce")


@dataclass(frozen=True, config=OPTIONS)
class ActorCriticConfig:
    """Options of ``policy.name: actor_critic``."""

    updates: PositiveInt = 5000  # gradient updates
    batch_size: PositiveInt = 64  # logged states from which one update imagines
    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = None
    horizon: Horizon = 15  # imagined steps; 5 for a model that is accurate only near the logs (arXiv:2206.04779)
    hidden: Widths = field(default_factory=lambda: [256, 256])  # widths of the hidden layers
    # dynamics: differentiate through the world model; reinforce: log-density times advantage
    gradient: Annotated[str, OneOf(GRADIENTS)] = "dynamics"
    value_head: Annotated[str, OneOf(HEADS)] = "two_hot"  # distribution of values that the critic predicts
    discount: OpenFraction = 0.99  # discount of future rewards
    td_lambda: Fraction = 0.95  # 0 bootstraps from the critic after one step, 1 only at the horizon
    actor_learning_rate: LearningRate = 3e-4  # learning rate of the actor
    critic_learning_rate: LearningRate = 3e-4  # learning rate of the critic
    actor_decay: Flag = True  # whether the actor's learning rate decays to zero along a cosine
    target_rate: Fraction = 0.02  # rate of the moving average that makes the slow critic, from which returns bootstrap
    entropy_weight: NonNegativeFloat = 3e-4  # weight of the entropy, beside returns scaled to a spread of about 1
    spread_rate: Fraction = 0.01  # rate of the moving average of the returns' 5 and 95 % quantiles
    gradient_clip: PositiveFloat = 100.0  # largest norm of the gradient, of actor and critic each
    penalty_clip: NonNegativeFloat = 10.0  # largest penalty, in standard deviations of the logged reward


class ActorCritic(ActorAndCritics):
    """Actor, critic of states, and a slow copy of the critic.

    The critic predicts returns in standard deviations of the logged reward; :meth:`value` returns the log's own unit.
    """

    Config = ActorCriticConfig
    imagines = False  # batches are logged; the update imagines from their states
    model_free = False
    plans = False
    discrete = True
    config: ActorCriticConfig

    def __init__(self, config: ActorCriticConfig, task: LearnerSpec) -> None:
        super().__init__()
        self.config = config
        self.reward_scale = task.reward_std
        self.penalty_weight = task.penalty_weight
        self.actor = actor_for(task.action_kind, task.state_dim, task.action_dim, config.hidden)
        self.head: Head = HEADS[config.value_head]()
        # A smooth activation, because the actor's gradient passes through the critic.
        self.critic = zero_last_layer(mlp([task.state_dim, *config.hidden, self.head.size], nn.SiLU))
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("return_quantiles", torch.zeros(2))
        self.register_buffer("return_range", torch.tensor([0.05, 0.95]), persistent=False)
        self.return_range: Annotated[Tensor, "2"]
        self.return_quantiles: Annotated[Tensor, "2"]
        self.updates_done = 0

    def value_networks(self) -> list[nn.Module]:
        """The critic."""
        return [self.critic]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One update of actor and critic on rollouts from the states of ``batch``.

        Returns scalar metrics; ``q_mean`` and ``imagined_*`` are in the log's unit of reward.
        """
        assert imagination is not None, "this learner needs an imagination"
        c = self.config
        if c.actor_decay:
            follow_cosine(self.actor_optimizer, c.actor_learning_rate, self.updates_done, c.updates)
        rollout, raw = self._imagine(batch.state, imagination, generator, batch.row)
        returns = self._returns(rollout)
        state = rollout.state[:, :-1].detach()
        survival = rollout.alive * survival_probability(rollout.continue_prob.detach())
        logits = self.critic(state)
        value = self.head.decode(logits.detach())
        metrics = self._update_actor(state, raw.detach(), returns, value, survival, generator)
        loss = (survival * self.head.loss(logits, returns)).mean()
        self._descend(self.critic_optimizer, self.critic, loss)
        polyak_update(self.slow_critic, self.critic, self.config.target_rate)
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
        """Actions "B A" for states "B Z": sampled, or the mode when ``generator`` is None."""
        return self.actor.mode(state) if generator is None else self.actor.sample(state, generator)[0]

    def critic_for_states(self) -> Critic:
        """This learner; :meth:`value` is its critic."""
        return self

    def action_density(self) -> ActorNetwork:
        """The actor."""
        return self.actor

    def _imagine(
        self,
        start: Annotated[Tensor, "B Z"],
        imagination: Imagination,
        generator: Generator,
        row: Annotated[Tensor, "B"] | None = None,
    ) -> tuple[Rollout, Annotated[Tensor, "B T A"]]:
        """A rollout of the current policy from logged states at the rows ``row``, and its actions before squashing."""
        horizon = self.config.horizon
        future = None if row is None else imagination.future(row, horizon)
        raws: list[Tensor] = []

        def actor(state: Tensor, t: int, generator: Generator | None) -> Tensor:
            raws.append(self.actor.sample_raw(state, generator)[0])
            return self.actor.squash(raws[-1])

        with torch.set_grad_enabled(self.config.gradient == "dynamics"):
            rollout = imagination.rollout(
                actor, start, horizon, generator, value=lambda state: self.value(state, generator), future=future
            )
        return rollout, torch.stack(raws, dim=1)

    def value(self, state: Annotated[Tensor, "B Z"], generator: Generator) -> Annotated[Tensor, "B"]:
        """The slow critic's mean, in the log's unit of reward. It is deterministic: ``generator`` is not used."""
        return self._value(state) * self.reward_scale

    def _value(self, state: Annotated[Tensor, "... Z"]) -> Annotated[Tensor, "..."]:
        """The slow critic's mean, from which returns bootstrap, in standard deviations of the logged reward."""
        return self.head.decode(self.slow_critic(state))

    def _returns(self, rollout: Rollout) -> Annotated[Tensor, "B T"]:
        """Pessimistic lambda-returns, in standard deviations of the logged reward.

        Each step weights continuing and terminating by their predicted probabilities, so the return stays
        differentiable in them. Terminating is worth the penalty paid forever (:func:`absorbing_value`), so early
        termination is not rewarded. At the last step of a rollout the return bootstraps from the next value alone.
        """
        c = self.config
        pessimism = (rollout.penalty, self.penalty_weight, c.penalty_clip * self.reward_scale)
        end_value = (1 - rollout.continue_prob) * absorbing_value(*pessimism, c.discount)
        reward = (pessimistic_reward(rollout.reward, *pessimism) + c.discount * end_value) / self.reward_scale
        next_value = self._value(rollout.state[:, 1:])
        discount = c.discount * rollout.continue_prob
        return lambda_return(reward, discount, next_value, c.td_lambda * (1 - rollout.last))

    def _update_actor(
        self, state: Tensor, raw: Tensor, returns: Tensor, value: Tensor, survival: Tensor, generator: Generator
    ) -> dict[str, Tensor]:
        spread = self._return_spread(returns.detach(), survival)
        if self.config.gradient == "dynamics":
            objective = returns / spread
        else:
            objective = self.actor.log_prob(state, raw) * (returns - value) / spread
        entropy = self.actor.entropy(state, generator)
        loss = -(survival * (objective + self.config.entropy_weight * entropy)).mean()
        self._descend(self.actor_optimizer, self.actor, loss)
        return {"actor_loss": loss.detach(), "entropy": entropy.detach().mean(), "return_spread": spread}

    def _return_spread(self, returns: Tensor, survival: Tensor) -> Tensor:
        """Moving average of the range from the 5 % to the 95 % quantile of returns (DreamerV3).

        It is at least 1: large returns are scaled down, small ones are not scaled up.
        """
        alive_returns = returns.masked_fill(survival == 0, math.nan).flatten()
        quantiles = torch.nanquantile(alive_returns, self.return_range)
        self.return_quantiles.lerp_(quantiles, self.config.spread_rate)
        return (self.return_quantiles[1] - self.return_quantiles[0]).clamp(min=1.0)

    def _descend(self, optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        parameters = list(module.parameters())
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)  # skips gradients of the world model, which are not used
        nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        optimizer.step()
