"""ReBRAC (Tarasov et al. 2023, arXiv:2305.09836): TD3+BC whose critics also pay for leaving the logged actions, with
layer normalization and deeper networks. It learns from logged transitions alone, without a world model."""

from dataclasses import field

from pydantic.dataclasses import dataclass
from torch import Tensor

from pipeline.policies.td3_bc import TD3BC, TD3BCConfig
from pipeline.types import Transitions
from pipeline.validation import OPTIONS, Flag, LearningRate, NonNegativeFloat, PositiveFloat, Widths


@dataclass(frozen=True, config=OPTIONS)
class ReBRACConfig(TD3BCConfig):
    """Options of ReBRAC: block ``rebrac``, and ``policy.name: rebrac``. The paper tunes both weights for each set of
    logs; the defaults lie in the middle of its grids."""

    hidden: Widths = field(default_factory=lambda: [128, 128, 128])  # widths of the hidden layers
    layer_norm: Flag = True  # layer normalization in the critics
    actor_learning_rate: LearningRate = 1e-3  # learning rate of the actor
    critic_learning_rate: LearningRate = 1e-3  # learning rate of the critics
    bc_weight: PositiveFloat = 0.05  # weight of imitation in the actor, summed over action dimensions
    # weight of imitation in the critics' targets, summed over action dimensions, in standard deviations of the reward
    critic_bc_weight: NonNegativeFloat = 0.1


class ReBRAC(TD3BC):
    """TD3+BC with a behavior penalty in the critics' targets; the actor climbs the lower critic."""

    Config = ReBRACConfig
    config: ReBRACConfig

    def _next_value(self, batch: Transitions, action: Tensor) -> Tensor:
        penalty = self._imitation_error(action, batch.next_action)
        return super()._next_value(batch, action) - self.config.critic_bc_weight * self.reward_scale * penalty

    def _actor_value(self, values: Tensor) -> Tensor:
        return values.amin(0)

    def _imitation_error(self, action: Tensor, logged: Tensor) -> Tensor:
        """Squared error "B" of actions "B A" against the logged ones, summed over dimensions."""
        return (action - logged).square().sum(-1)
