"""The Protocols that world models, penalties and actors share. Stages combine them.

Trainable world models and learners keep larger contracts: :mod:`pipeline.world_models.protocols` and
:mod:`pipeline.policies.protocols`.

Shapes use the alphabet of :mod:`pipeline.types`.
"""

from collections.abc import Callable
from typing import Protocol, Self, runtime_checkable

from torch import Generator, Tensor

from pipeline.types import Metrics, Observation, Prediction, Step, Transitions


@runtime_checkable
class StateEncoder(Protocol):
    """Turns what was observed into the state a policy acts on. A Markov model encodes the observation; a recurrent one
    carries its belief."""

    state_dim: int
    stateful: bool  # whether its state holds more than what is seen now

    def initial(self, batch: int) -> Tensor:
        """The state before the first observation, "B Z"."""

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state once ``action`` was taken in ``state`` and ``obs`` was seen; where ``first`` "B" is 1.0 an episode
        starts, and ``state`` and ``action`` do not count."""


@runtime_checkable
class WindowEncoder(StateEncoder, Protocol):
    """A filter whose state depends on the last few steps alone, so that all states of a log are found at once."""

    def encode_episodes(self, obs: Observation, action: Tensor, age: Tensor) -> Tensor:
        """States "R Z" of the rows "R ..." of whole episodes, one after the other; ``age`` "R" counts the steps since a
        row's episode began, int64."""


@runtime_checkable
class WorldModel(StateEncoder, Protocol):
    """Latent or not, recurrent or not, Bayesian or not: policies, planners and penalties never ask which."""

    action_dim: int
    reward_scale: float  # standard deviation of the logged reward: the unit of every penalty
    recurrent: bool  # whether it learns its state from windows of steps; else from single transitions between states

    @property
    def elites(self) -> Tensor:
        """Numbers of the members that are drawn from, int64."""

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """What every member believes about the next step; nothing is drawn."""

    def draw(
        self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator | None, member: Tensor | None
    ) -> Step:
        """The only randomness, reparameterized. ``member`` "B" fixes the member (TS-infinity); None draws an elite for
        each row; ``generator`` None takes the members' mean without noise."""

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One member for each row, "B", to be kept for a whole rollout."""

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """This model with ``count`` weight samples of its own (None: as many as its config says), fixed for one rollout
        or plan; an ensemble is its own sample and draws nothing. A model that nobody asked predicts with one set that
        is always the same, so evaluation repeats itself."""

    def decode(self, state: Tensor) -> Observation:
        """The observation a state stands for, in the environment's own unit."""

    def actor_encoder(self) -> StateEncoder:
        """The part an agent needs to act: the encoder of a Markov model, all of a recurrent one."""

    def targets(self, batch: Transitions) -> Tensor:
        """What a perfect prediction of these steps would have as its mean, "B D"."""


@runtime_checkable
class Penalty(Protocol):
    """Uncertainty of one imagined step, "B", in units of reward, never negative."""

    kind: str  # aleatoric (noise of the world), epistemic (what more logs would teach) or total

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Look at the training split, before the first call; most need not."""

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """``prediction`` "M B D" of the step from ``state`` "B Z" by ``action`` "B A"; ``sample`` "B D" was drawn."""


Value = Callable[[Tensor], Tensor]  # states "B Z" -> what a learner expects to earn from them, "B"


@runtime_checkable
class ValuePenalty(Penalty, Protocol):
    """A penalty that depends on the learner's value as it is now: zero when it is called without one."""

    def penalty_under_value(
        self,
        model: WorldModel,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        value: Value,
        generator: Generator,
    ) -> Tensor:
        """The penalty "B" of the step from ``state`` "B Z" by ``action`` "B A", in units of ``value``."""


@runtime_checkable
class Actor(Protocol):
    """A policy, a plan, or the logged actions: the action at imagined step ``t``, "B A" in [-1, 1]."""

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor: ...


__all__ = [
    "Actor",
    "StateEncoder",
    "Metrics",
    "Penalty",
    "Value",
    "ValuePenalty",
    "WindowEncoder",
    "WorldModel",
]
