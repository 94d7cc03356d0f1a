"""The protocols of policies: learners, and planners that search instead of learning.

Shapes use the alphabet of :mod:`pipeline.types`. Classes that implement these protocols are registered in
:mod:`pipeline.policies` and :mod:`pipeline.policies.planning`.
"""

from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Generator, Tensor

from pipeline.imagination import Imagination
from pipeline.networks.actor import ActorNetwork
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.protocols import Actor
from pipeline.types import Rollout, TorchModule, Transitions


@runtime_checkable
class Critic(Protocol):
    """Estimates the value of states."""

    def value(self, state: Tensor, generator: Generator) -> Tensor:
        """Expected discounted return "B" from states "B Z", minus penalties, in the log's unit of reward.

        ``generator`` draws the actions, where the critic needs them.
        """


class LearnerConfig(Protocol):
    """What the training loop reads from the config of any learner."""

    @property
    def updates(self) -> int:
        """Number of gradient updates."""

    @property
    def batch_size(self) -> int:
        """Transitions in one update."""


class Policy(TorchModule, Protocol):
    """A torch module that acts on states of a world model or of an encoder. A bundle stores its weights."""

    Config: Any  # a frozen dataclass of options
    plans: bool  # whether it searches in the world model at every step, which makes acting slow
    discrete: bool  # whether it can choose among discrete actions

    def __init__(self, config: object, task: LearnerSpec, *args: object, **kwargs: object) -> None: ...

    def act(self, state: Tensor, generator: Generator | None) -> Tensor:
        """Actions "B A" in [-1, 1] for states "B Z"; the mode of the policy if ``generator`` is None."""

    def critic_for_states(self) -> Critic | None:
        """The critic, or None for a policy without one."""

    def action_density(self) -> ActorNetwork | str:
        """The actor, which gives the log-density of actions; for a policy without a density, the reason as text."""


class PolicyLearner(Policy, Protocol):
    """A policy that learns by gradient updates; ``plans`` is False.

    It is built from its ``Config`` and a :class:`pipeline.policies.learner_spec.LearnerSpec`.
    """

    imagines: bool  # whether its batches mix imagined with logged transitions
    model_free: bool  # whether it learns from logged transitions alone, without a world model
    updates_done: int  # counted by ``update``, restored when an interrupted training resumes

    @property
    def config(self) -> LearnerConfig:
        """The options it was built with."""

    def update(self, batch: Transitions, imagination: Imagination | None, generator: Generator) -> dict[str, Tensor]:
        """One gradient update on ``batch``. Returns metrics as scalar tensors on the device.

        Learners that imagine during the update need ``imagination``; the others accept None.
        """

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All optimizers; together they hold every trainable parameter."""


@runtime_checkable
class TakesSegments(Protocol):
    """A learner whose batches hold segments of consecutive imagined steps."""

    segment: int  # steps in one segment; 1: each step is drawn on its own


class PlanningPolicy(Policy, Protocol):
    """A policy that searches for the best plan at every step; ``plans`` is True.

    It is built from its ``Config``, a :class:`pipeline.policies.learner_spec.LearnerSpec` and an
    :class:`~pipeline.imagination.Imagination`.
    """

    @property
    def student(self) -> PolicyLearner | None:
        """The learner whose critic values the last state of a plan; None without a terminal value."""

    def receding(self) -> Actor:
        """A receding-horizon actor for new episodes; it warm-starts each plan from the previous one."""

    def predicted_rollout(self, state: Tensor) -> Rollout:
        """The best plan from each state "E Z" and the rollout that the model predicts for it."""


def is_planner(policy: Policy) -> TypeGuard[PlanningPolicy]:
    """Whether ``policy`` is a planner."""
    return policy.plans


def is_learner(policy: Policy) -> TypeGuard[PolicyLearner]:
    """Whether ``policy`` learns by gradient updates."""
    return not policy.plans


def student_of(policy: Policy) -> PolicyLearner | None:
    """What of ``policy`` learns: a learner itself, the student of a planner, or None for a planner without one."""
    if is_planner(policy):
        return policy.student
    return policy if is_learner(policy) else None
