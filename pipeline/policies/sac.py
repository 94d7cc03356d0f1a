"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) on logged and imagined transitions. With a penalized
reward it is the policy learner of MOPO (Yu et al. 2020, arXiv:2005.13239).

Options that are off by default: ``td_lambda`` makes the targets lambda-returns along imagined rollouts, and
``expectile`` makes the critics learn a lower expectile of the targets (LEQ, Park & Lee 2024, arXiv:2407.00699).
``conservatism`` lowers values in imagined states and raises values of logged steps (COMBO, Yu et al. 2021,
arXiv:2102.08363). ``halt_cost`` gives halted rollouts a value below every logged return (MOReL, Kidambi et al. 2020,
arXiv:2005.05951).

Discrete actions are one-hot; expectations over them are exact sums instead of samples (Christodoulou 2019,
arXiv:1910.07207).
"""

import copy
import math
from dataclasses import field
from functools import cached_property
from typing import Annotated

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork, actor_for
from pipeline.networks.adam import LeanAdam
from pipeline.networks.critic import Critics, polyak_update
from pipeline.networks.schedule import follow_cosine
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.losses import (
    absorbing_value,
    chained_return,
    conservative_gap,
    expectile_loss,
    followed,
    logged_mean,
    pessimistic_reward,
    td_target,
)
from pipeline.policies.optimizers import ActorAndCritics
from pipeline.policies.protocols import Critic
from pipeline.types import Transitions
from pipeline.validation import (
    OPTIONS,
    Flag,
    Fraction,
    LearningRate,
    Members,
    NonNegativeFloat,
    Number,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Widths,
)

SEGMENT = 32  # consecutive imagined steps that a batch takes together, for lambda-returns


@dataclass(frozen=True, config=OPTIONS)
class SACConfig:
    """Options of ``policy.name: sac``."""

    updates: PositiveInt = 15_000  # gradient updates
    batch_size: PositiveInt = 256  # logged and imagined steps in one update
    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = None
    hidden: Widths = field(default_factory=lambda: [128, 128])  # widths of the hidden layers
    # critics whose minimum is the target, or whose mean below an `expectile` of 0.5; rollouts that are cut early need
    # more than 2 (RAVL, arXiv:2402.12527)
    critics: Members = 2
    # layer normalization in the critics: limits extrapolation (RLPD, arXiv:2302.02948), helps on large problems
    layer_norm: Flag = False
    discount: OpenFraction = 0.99  # discount of future rewards
    # lambda of the targets, which are returns along imagined rollouts; 0: one reward, then the critics' value
    td_lambda: Fraction = 0.0
    # expectile of the targets that critics learn: 0.5 is their mean, below it the values are pessimistic (LEQ)
    expectile: OpenFraction = 0.5
    actor_learning_rate: LearningRate = 3e-4  # learning rate of the actor
    critic_learning_rate: LearningRate = 3e-4  # learning rate of the critics
    alpha_learning_rate: LearningRate = 1e-4  # learning rate of the temperature
    actor_decay: Flag = True  # whether the actor's learning rate decays to zero along a cosine
    target_rate: Fraction = 0.005  # Polyak rate of the target critics
    alpha: PositiveFloat | None = None  # fixed temperature; null: tuned to `target_entropy`
    target_entropy: Number | None = None  # entropy that alpha is tuned to; null: the default for the kind of actions
    entropy_backup: Flag = False  # whether targets include the entropy (soft values)
    bc_weight: NonNegativeFloat = 0.0  # weight of imitation: 0.1 is weak, TD3+BC uses 0.4, narrow logs need up to 10
    centered_values: Flag = False  # whether critics start from the value of the mean logged reward
    penalty_clip: NonNegativeFloat = 10.0  # largest penalty, in standard deviations of the logged reward
    clamp_targets: Flag = True  # whether targets are kept within what the logged rewards allow
    conservatism: NonNegativeFloat = 0.0  # weight of COMBO's gap between imagined and logged values; has no unit
    # null: the value after a halted rollout is bootstrapped; a number: after a halt, every reward forever is this many
    # standard deviations below the lowest logged reward (MOReL)
    halt_cost: NonNegativeFloat | None = None


class SAC(ActorAndCritics):
    """Actor, critics and temperature of soft actor-critic."""

    Config = SACConfig
    imagines = True
    model_free = False
    plans = False
    discrete = True
    config: SACConfig

    def __init__(self, config: SACConfig, task: LearnerSpec) -> None:
        super().__init__()
        self.config = config
        self.penalty_weight = task.penalty_weight
        self.actor = actor_for(task.action_kind, task.state_dim, task.action_dim, config.hidden)
        sizes = (config.critics, task.state_dim, task.action_dim, config.hidden)
        self.critics = Critics(*sizes, config.layer_norm, self._value_unit(task))
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(1.0 if config.alpha is None else config.alpha)))
        self.target_entropy = self._target_entropy(task)
        self.reward_scale = task.reward_std
        self.penalty_limit = config.penalty_clip * task.reward_std
        self.floor_value = self._floor_value(task.reward_low)
        self.value_range = self._value_range(task)
        self.register_buffer("action_std", torch.tensor(task.action_std or [1.0] * task.action_dim), persistent=False)
        self.action_std: Tensor
        self.updates_done = 0
        self.segment = SEGMENT if config.td_lambda else 1

    def _target_entropy(self, task: LearnerSpec) -> float:
        """The configured entropy, or the default for the kind of actions.

        With a behavior-cloning term, the default is relative to the spread of the logged actions: higher entropy than
        the data would oppose that term.
        """
        if self.config.target_entropy is not None:
            return self.config.target_entropy
        return self.actor.default_target_entropy(task.action_std if self.config.bc_weight > 0 else None)

    def _floor_value(self, lowest_reward: float) -> float | None:
        """The value after a halt: a reward below all logged rewards, forever (MOReL, Kidambi et al. 2020)."""
        c = self.config
        return None if c.halt_cost is None else (lowest_reward - c.halt_cost * self.reward_scale) / (1 - c.discount)

    def _value_range(self, task: LearnerSpec) -> tuple[float, float]:
        """Lowest and highest discounted return under rewards of the logged range, the largest penalty and halts."""
        horizon = 1 / (1 - self.config.discount)
        low = min(task.reward_low, 0.0) - task.penalty_weight * self.penalty_limit
        floor = 0.0 if self.floor_value is None else self.floor_value
        return min(low * horizon, floor), max(task.reward_high, 0.0) * horizon

    def _value_unit(self, task: LearnerSpec) -> tuple[float, float]:
        """Shift and scale of the critics' outputs: the value of a constant mean reward, and the approximate standard
        deviation of discounted returns; (0, 1) unless ``centered_values``."""
        if not self.config.centered_values:
            return 0.0, 1.0
        end_probability = 1 - self.config.discount
        return task.reward_mean / end_probability, task.reward_std / math.sqrt(end_probability)

    def value_networks(self) -> list[nn.Module]:
        """The critics."""
        return [self.critics]

    @cached_property
    def alpha_optimizer(self) -> torch.optim.Optimizer:
        """Of the temperature."""
        return LeanAdam([self.log_alpha], lr=self.config.alpha_learning_rate)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers of the actor, the critics and the temperature."""
        return [*super().optimizers(), self.alpha_optimizer]

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One update of critics, actor and temperature, then of the target critics.

        ``imagination`` is needed only for penalties that depend on the value (``imagination.needs_value``). Returns
        scalar metrics.
        """
        c = self.config
        if c.actor_decay:
            follow_cosine(self.actor_optimizer, c.actor_learning_rate, self.updates_done, c.updates)
        metrics = {}
        if imagination is not None and imagination.needs_value:
            batch = imagination.recompute_penalties(batch, lambda state: self.value(state, generator), generator)
            metrics["imagined_penalty"] = batch.penalty.sum() / (1 - batch.logged).sum().clamp(min=1)
        metrics |= self._update_critics(batch, generator)
        metrics |= self._update_actor(batch, generator)
        polyak_update(self.target_critics, self.critics, self.config.target_rate)
        self.updates_done += 1
        return metrics

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Actions "B A" for states "B Z": sampled, or the mode when ``generator`` is None."""
        return self.actor.mode(state) if generator is None else self.actor.sample(state, generator)[0]

    def value(self, state: Tensor, generator: Generator) -> Tensor:
        """The value "B" from which targets bootstrap: the target critics (:meth:`_pooled`) at a sampled action, in the
        log's unit of reward. With ``entropy_backup`` it includes the entropy bonus."""
        value, log_prob = self.actor.expect(lambda a: self._pooled(self.target_critics(state, a)), state, generator)
        return value - self.log_alpha.exp() * log_prob if self.config.entropy_backup else value

    def critic_for_states(self) -> Critic:
        """This learner; :meth:`value` is its critic."""
        return self

    def action_density(self) -> ActorNetwork:
        """The actor."""
        return self.actor

    def _pooled(self, value: Annotated[Tensor, "N ..."]) -> Annotated[Tensor, "..."]:
        """The lowest critic; with a lower expectile, which is cautious enough, their mean."""
        return value.mean(0) if self.config.expectile < 0.5 else value.amin(0)

    def _update_critics(self, batch: Transitions, generator: Generator) -> dict[str, Tensor]:
        target = self._targets(batch, generator)
        value = self.critics(batch.state, batch.action)
        loss = 2 * expectile_loss(target - value, self.config.expectile).mean(1).sum()
        metrics = {}
        if self.config.conservatism:
            expected, _ = self.actor.expect(lambda a: self.critics(batch.state, a), batch.state, generator)
            gap = conservative_gap(expected, value, batch.logged)
            # COMBO adds the gap to half the squared error, hence the 2. The reward scale makes the weight unitless.
            loss = loss + 2 * self.config.conservatism * self.reward_scale * gap.sum()
            metrics["conservative_gap"] = gap.detach().mean()
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.critics.parameters()))
        self.critic_optimizer.step()
        return metrics | {"critic_loss": loss.detach(), "q_mean": value.detach().mean()}

    @torch.no_grad()
    def _targets(self, batch: Transitions, generator: Generator) -> Tensor:
        next_value = self.value(batch.next_state, generator)
        terminal = batch.terminal
        if self.floor_value is not None:
            # The model is not trusted after a halt, so its predicted terminal is ignored there too.
            next_value = torch.where(batch.halted.bool(), self.floor_value, next_value)
            terminal = terminal * (1 - batch.halted)
        pessimism = (batch.penalty, self.penalty_weight, self.penalty_limit)
        reward = pessimistic_reward(batch.reward, *pessimism)
        end_value = absorbing_value(*pessimism, self.config.discount)
        target = td_target(reward, terminal, next_value, end_value, self.config.discount)
        if self.config.td_lambda:
            reach = self.config.discount * self.config.td_lambda
            target = chained_return(target, next_value, followed(batch), reach)
        return target.clamp(*self.value_range) if self.config.clamp_targets else target

    def _update_actor(self, batch: Transitions, generator: Generator) -> dict[str, Tensor]:
        value, log_prob = self.actor.expect(
            lambda a: self._pooled(self.critics(batch.state, a)), batch.state, generator
        )
        alpha = self.log_alpha.detach().exp()
        loss = (alpha * log_prob - value).mean()
        metrics = {}
        if self.config.bc_weight > 0:
            imitation_loss = self.actor.imitation_loss(batch.state, batch.action, self.action_std)
            bc_loss = logged_mean(imitation_loss.mean(-1), batch.logged)
            spread = value.detach().std().clamp(min=1e-3 * self.critics.scale)
            loss = loss / spread + self.config.bc_weight * bc_loss
            metrics["bc_error"] = bc_loss.detach()
        self.actor_optimizer.zero_grad(set_to_none=True)
        # Skip the gradients of the critics' weights: they are not used and take a third of the time.
        loss.backward(inputs=list(self.actor.parameters()))
        self.actor_optimizer.step()
        if self.config.alpha is None:
            self._update_alpha(log_prob.detach())
        return metrics | {"actor_loss": loss.detach(), "alpha": alpha, "entropy": -log_prob.detach().mean()}

    @torch.no_grad()
    def _update_alpha(self, log_prob: Tensor) -> None:
        # The loss, -exp(log_alpha) times the gap, is its own derivative.
        self.log_alpha.grad = -self.log_alpha.exp() * (log_prob + self.target_entropy).mean()
        self.alpha_optimizer.step()
