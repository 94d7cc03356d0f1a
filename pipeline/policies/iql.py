"""Implicit Q-learning (Kostrikov et al. 2022, arXiv:2110.06169). It learns from logged transitions alone, without a
world model, and never asks for the value of an action that is not in the logs."""

import copy
from dataclasses import field
from typing import Annotated

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.encoders.history import History
from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, TanhGaussianActor, actor_for
from pipeline.networks.critic import Critics, polyak_update
from pipeline.networks.mlp import mlp
from pipeline.networks.schedule import follow_cosine
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import expectile_loss
from pipeline.policies.optimizers import ActorAndCritics
from pipeline.policies.protocols import Critic
from pipeline.types import Transitions
from pipeline.validation import (
    OPTIONS,
    Flag,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Widths,
)

LARGEST_WEIGHT = 100.0  # of a logged action in the actor's loss


@dataclass(frozen=True, config=OPTIONS)
class IQLConfig:
    """Options of implicit Q-learning: block ``iql``, and ``policy.name: iql``."""

    updates: PositiveInt = 15_000  # gradient updates
    batch_size: PositiveInt = 256  # logged steps in one update
    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = None
    hidden: Widths = field(default_factory=lambda: [128, 128])  # widths of the hidden layers
    discount: OpenFraction = 0.99  # discount of future rewards
    actor_learning_rate: LearningRate = 3e-4  # learning rate of the actor
    critic_learning_rate: LearningRate = 3e-4  # learning rate of the critics and of the state value
    actor_decay: Flag = True  # whether the actor's learning rate decays to zero along a cosine
    target_rate: Fraction = 0.005  # Polyak rate of the target critics
    # expectile of the critics over logged actions that is a state's value: 0.5 is their mean, towards 1 their maximum
    expectile: OpenFraction = 0.7
    # how sharply the actor prefers logged actions of high advantage; advantages in standard deviations of the reward
    inverse_temperature: NonNegativeFloat = 1.0
    # steps before the present one that the policy sees as a baseline; learned in a world model, it sees that model's
    history: History = 0


class IQL(ActorAndCritics):
    """An actor, two critics with their targets, and a state value."""

    Config = IQLConfig
    imagines = False
    model_free = True
    plans = False
    discrete = True
    config: IQLConfig

    def __init__(self, config: IQLConfig, task: LearnerSpec) -> None:
        super().__init__()
        self.config = config
        self.reward_scale = task.reward_std
        self.actor = actor_for(task.action_kind, task.state_dim, task.action_dim, config.hidden)
        self.critics = Critics(2, task.state_dim, task.action_dim, config.hidden, False, (0.0, task.reward_std))
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.state_value = mlp([task.state_dim, *config.hidden, 1])
        self.updates_done = 0

    def value_networks(self) -> list[nn.Module]:
        """The critics and the state value."""
        return [self.critics, self.state_value]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One update of values and actor, then of the target critics; ``imagination`` and ``generator`` are not used.
        Returns scalar metrics."""
        c = self.config
        if c.actor_decay:
            follow_cosine(self.actor_optimizer, c.actor_learning_rate, self.updates_done, c.updates)
        values = self.critics(batch.state, batch.action)
        advantage, value_losses = self._value_losses(batch, values)
        imitation = self.actor.imitation_loss(batch.state, batch.action).sum(-1)
        actor_loss = (self._weights(advantage) * imitation).mean()
        for optimizer in self.optimizers():
            optimizer.zero_grad(set_to_none=True)
        (sum(value_losses.values(), actor_loss)).backward()  # no parameter is in two losses
        for optimizer in self.optimizers():
            optimizer.step()
        polyak_update(self.target_critics, self.critics, c.target_rate)
        self.updates_done += 1
        metrics = {
            "actor_loss": actor_loss,
            **value_losses,
            "bc_error": imitation.mean(),
            "advantage": advantage.mean(),
            "q_mean": values.mean(),
        }
        return {name: metric.detach() for name, metric in metrics.items()}

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """The mode of the policy, "B A", in states "B Z"; ``generator`` is not used."""
        return self.actor.mode(state)

    def value(self, state: Tensor, generator: Generator) -> Tensor:
        """The state value "B" in the log's unit of reward; ``generator`` is not used."""
        return self.state_value(state).squeeze(-1) * self.reward_scale

    def critic_for_states(self) -> Critic:
        """This learner; :meth:`value` is its critic."""
        return self

    def action_density(self) -> ActorNetwork | str:
        """The actor for discrete actions; otherwise the reason for having no density."""
        if isinstance(self.actor, TanhGaussianActor):
            return "the policy is deterministic: weighted least squares learns no standard deviation"
        return self.actor

    def _value_losses(
        self, batch: Transitions, values: Annotated[Tensor, "N B"]
    ) -> tuple[Annotated[Tensor, "B"], dict[str, Tensor]]:
        """Advantages of the logged actions, and the losses of the state value and of the critics, whose values are
        ``values``; advantages and losses are in standard deviations of the logged reward."""
        scale = self.reward_scale
        value = self.state_value(batch.state).squeeze(-1)
        with torch.no_grad():
            logged_value = self.target_critics(batch.state, batch.action).amin(0) / scale
            next_value = self.state_value(batch.next_state).squeeze(-1)
            target = batch.reward / scale + self.config.discount * (1 - batch.terminal) * next_value
        advantage = logged_value - value
        error = values / scale - target
        losses = {
            "value_loss": expectile_loss(advantage, self.config.expectile).mean(),
            "critic_loss": error.square().mean(1).sum(),
        }
        return advantage.detach(), losses

    def _weights(self, advantage: Tensor) -> Tensor:
        """How much the actor's loss counts each logged action, "B"."""
        return (self.config.inverse_temperature * advantage).exp().clamp(max=LARGEST_WEIGHT)
