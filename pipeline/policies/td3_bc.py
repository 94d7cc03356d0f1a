"""TD3+BC (Fujimoto & Gu 2021, arXiv:2106.06860): TD3 (Fujimoto et al. 2018, arXiv:1802.09477) with a term that holds
the policy at the logged actions. It learns from logged transitions alone, without a world model."""

import copy
from dataclasses import field

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.encoders.history import History
from pipeline.imagination import Imagination
from pipeline.networks.actor import actor_for
from pipeline.networks.critic import Critics, polyak_update
from pipeline.policies.learner_spec import LearnerSpec
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
    SmallCount,
    Widths,
)

SMALLEST_VALUE = 1e-6  # mean size of values, in standard deviations of the logged reward


@dataclass(frozen=True, config=OPTIONS)
class TD3BCConfig:
    """Options of TD3+BC: block ``td3_bc``, and ``policy.name: td3_bc``."""

    updates: PositiveInt = 15_000  # gradient updates of the critics
    batch_size: PositiveInt = 256  # logged steps in one update
    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = None
    hidden: Widths = field(default_factory=lambda: [128, 128])  # widths of the hidden layers
    layer_norm: Flag = False  # layer normalization in the critics
    discount: OpenFraction = 0.99  # discount of future rewards
    actor_learning_rate: LearningRate = 3e-4  # learning rate of the actor
    critic_learning_rate: LearningRate = 3e-4  # learning rate of the critics
    target_rate: Fraction = 0.005  # Polyak rate of the target networks
    actor_every: SmallCount = 2  # critic updates between updates of the actor and of the target networks
    target_noise: NonNegativeFloat = 0.2  # standard deviation of the noise on the target policy's actions
    target_noise_clip: NonNegativeFloat = 0.5  # largest such noise
    bc_weight: PositiveFloat = 0.4  # weight of imitation, the inverse of alpha in the paper: 1 / 2.5
    # steps before the present one that the policy sees as a baseline; learned in a world model, it sees that model's
    history: History = 0


class TD3BC(ActorAndCritics):
    """A deterministic actor, two critics and their target networks."""

    Config = TD3BCConfig
    imagines = False
    model_free = True
    plans = False
    discrete = False
    config: TD3BCConfig

    def __init__(self, config: TD3BCConfig, task: LearnerSpec) -> None:
        super().__init__()
        self.config = config
        self.reward_scale = task.reward_std
        self.actor = actor_for(task.action_kind, task.state_dim, task.action_dim, config.hidden)
        unit = (0.0, task.reward_std)
        self.critics = Critics(2, task.state_dim, task.action_dim, config.hidden, config.layer_norm, unit)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.updates_done = 0

    def value_networks(self) -> list[nn.Module]:
        """The critics."""
        return [self.critics]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One update of the critics and, every ``actor_every`` updates, of the actor and the target networks.

        ``imagination`` is not used. Returns scalar metrics; those of the actor are weighted so that their mean over
        all updates is the mean over the actor's.
        """
        metrics = self._update_critics(batch, generator)
        every = self.config.actor_every
        if self.updates_done % every == 0:
            metrics |= {name: every * value for name, value in self._update_actor(batch).items()}
            polyak_update(self.target_critics, self.critics, self.config.target_rate)
            polyak_update(self.target_actor, self.actor, self.config.target_rate)
        self.updates_done += 1
        return metrics

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """The action "B A" of the policy in states "B Z"; ``generator`` is not used."""
        return self.actor.mode(state)

    def value(self, state: Tensor, generator: Generator) -> Tensor:
        """The lower target critic "B" at the target policy's action, in the log's unit of reward; ``generator`` is not
        used."""
        return self.target_critics(state, self.target_actor.mode(state)).amin(0)

    def critic_for_states(self) -> Critic:
        """This learner; :meth:`value` is its critic."""
        return self

    def action_density(self) -> str:
        """The reason for having no density."""
        return "the policy is deterministic"

    def _update_critics(self, batch: Transitions, generator: Generator) -> dict[str, Tensor]:
        target = self._targets(batch, generator)
        value = self.critics(batch.state, batch.action)
        loss = (value - target).square().mean(1).sum()
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimizer.step()
        return {"critic_loss": loss.detach(), "q_mean": value.detach().mean()}

    @torch.no_grad()
    def _targets(self, batch: Transitions, generator: Generator) -> Tensor:
        """One-step targets "B" at the target policy's actions, with clipped noise on them."""
        c, action = self.config, self.target_actor.mode(batch.next_state)
        noise = torch.randn(action.shape, generator=generator, device=action.device) * c.target_noise
        action = (action + noise.clamp(-c.target_noise_clip, c.target_noise_clip)).clamp(-1, 1)
        next_value = self._next_value(batch, action)
        return batch.reward + c.discount * (1 - batch.terminal) * next_value

    def _next_value(self, batch: Transitions, action: Tensor) -> Tensor:
        """The lower target critic "B" at ``action`` "B A" in the next states."""
        return self.target_critics(batch.next_state, action).amin(0)

    def _update_actor(self, batch: Transitions) -> dict[str, Tensor]:
        action = self.actor.mode(batch.state)
        value = self._actor_value(self.critics(batch.state, action))
        imitation = self._imitation_error(action, batch.action)
        size = value.detach().abs().mean().clamp(min=SMALLEST_VALUE * self.reward_scale)
        loss = (self.config.bc_weight * imitation - value / size).mean()
        self.actor_optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.actor.parameters()))  # the critics need no gradients here
        self.actor_optimizer.step()
        return {"actor_loss": loss.detach(), "bc_error": imitation.detach().mean()}

    def _actor_value(self, values: Tensor) -> Tensor:
        """The value "B" that the actor climbs, of the critics' values "N B": the first critic's."""
        return values[0]

    def _imitation_error(self, action: Tensor, logged: Tensor) -> Tensor:
        """Mean squared error "B" of actions "B A" against the logged ones."""
        return (action - logged).square().mean(-1)
