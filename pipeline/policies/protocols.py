"""The contract of everything that acts: learners, and planners that search instead of learning.

Shapes use the alphabet of :mod:`pipeline.types`. A class that keeps one of these contracts is registered in
:mod:`pipeline.policies` or :mod:`pipeline.policies.planning`.
"""

from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Generator, Tensor

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork
from pipeline.policies.task import LearnerSpec
from pipeline.protocols import Actor
from pipeline.types import Rollout, TorchModule, Transitions


@runtime_checkable
class Critic(Protocol):
    """Estimates the value of states."""

    def value(self, state: Tensor, generator: Generator) -> Tensor:
        """Expected discounted return "B" from states "B Z", penalties included, in the log's unit of reward."""


class LearnerConfig(Protocol):
    """What the training loop reads from the config of any learner."""

    @property
    def updates(self) -> int: ...

    @property
    def batch_size(self) -> int: ...


class Policy(TorchModule, Protocol):
    """Acts on states of a world model or of an encoder. Its weights are what a bundle holds."""

    Config: Any  # a frozen dataclass of options
    plans: bool  # True: searches in the world model at every step, so acting is slow

    def __init__(self, config: Any, task: LearnerSpec, *more: Any, **options: Any) -> None: ...

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Actions "B A" in [-1, 1] for states "B Z"; the mode of the policy when ``generator`` is None."""

    def critic_for_states(self) -> Critic | None:
        """The critic that values states, or None for a policy that has none."""

    def action_density(self) -> ActorNetwork | str:
        """The distribution of actions given a state; for a policy without one, the reason."""


class PolicyLearner(Policy, Protocol):
    """A policy and how it learns. It is built from its ``Config`` and a :class:`pipeline.policies.task.LearnerSpec`.

    ``plans`` is False.
    """

    imagines: bool  # whether imagined transitions fill its batches beside logged ones
    updates_done: int  # counted by ``update``, restored when an interrupted training resumes

    @property
    def config(self) -> LearnerConfig: ...

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One gradient update on ``batch``; metrics are scalar tensors that stay on the device. ``imagination`` is for
        learners that imagine during the update; it may be None for the others."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers; together they hold every trainable parameter."""


class PlanningPolicy(Policy, Protocol):
    """A policy that searches for the best plan at every step. It is built from its ``Config``, a
    :class:`pipeline.policies.task.LearnerSpec` and an :class:`~pipeline.imagination.Imagination`. ``plans`` is True."""

    @property
    def student(self) -> PolicyLearner | None:
        """The learner whose critic values the last state of a plan; None without a terminal value."""

    def receding(self) -> Actor:
        """An actor for episodes that start now; it warm-starts each plan from the previous one."""

    def foreseen(self, state: Tensor) -> Rollout:
        """The best plan from each state "E Z" and the rollout that the model predicts for it."""


def is_planner(policy: Policy) -> TypeGuard[PlanningPolicy]:
    """Whether ``policy`` keeps the contract of a planner."""
    return policy.plans


def is_learner(policy: Policy) -> TypeGuard[PolicyLearner]:
    """Whether ``policy`` keeps the contract of a learner."""
    return not policy.plans
