"""The optimizers of learners that have an actor and critics."""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import nn

from pipeline.networks.actor import ActorNetwork
from pipeline.networks.adam import LeanAdam


class LearningRates(Protocol):
    """What is read from a learner's config."""

    @property
    def actor_learning_rate(self) -> float:
        """Learning rate of the actor."""

    @property
    def critic_learning_rate(self) -> float:
        """Learning rate of what estimates values."""


class ActorAndCritics(nn.Module):
    """Two optimizers, one of the actor and one of all that estimates values. They are made when training asks for them:
    to act needs none, and torch takes a second for the first."""

    config: LearningRates
    actor: ActorNetwork

    def value_networks(self) -> Sequence[nn.Module]:
        """What the second optimizer trains."""
        raise NotImplementedError

    @cached_property
    def actor_optimizer(self) -> torch.optim.Optimizer:
        """Of the actor."""
        return LeanAdam(self.actor.parameters(), lr=self.config.actor_learning_rate)

    @cached_property
    def critic_optimizer(self) -> torch.optim.Optimizer:
        """Of :meth:`value_networks`."""
        parameters = [weight for network in self.value_networks() for weight in network.parameters()]
        return LeanAdam(parameters, lr=self.config.critic_learning_rate)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizer of the actor, then that of the values."""
        return [self.actor_optimizer, self.critic_optimizer]
