"""The Protocols of world models, penalties and actors. Stages combine them.

Trainable world models and learners have larger contracts: :mod:`pipeline.world_models.protocols` and
:mod:`pipeline.policies.protocols`.

Shapes use the alphabet of :mod:`pipeline.types`.
"""

from collections.abc import Callable
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Generator, Tensor

from pipeline.types import Future, Metrics, Observation, Prediction, Step, Transitions


@runtime_checkable
class StateEncoder(Protocol):
    """Turns observations into the state that a policy acts on. A Markov model encodes the observation; a recurrent one
    filters the history."""

    state_dim: int
    stateful: bool  # whether the state depends on more than the current observation

    def initial(self, batch: int) -> Tensor:
        """The state "B Z" before the first observation; B is ``batch``."""

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state "B Z" after ``action`` "B A" in ``state`` "B Z" led to ``obs``. Where ``first`` "B" is 1.0 an
        episode starts, and ``state`` and ``action`` are ignored."""


@torch.no_grad()
def first_state(encoder: StateEncoder, obs: Observation, action_dim: int) -> Tensor:
    """States "B Z" of episodes that start with the raw observations "B ..."."""
    count = len(next(iter(obs.values())))
    state = encoder.initial(count)
    return encoder.observe(state, state.new_zeros(count, action_dim), obs, state.new_ones(count))


@runtime_checkable
class WindowEncoder(StateEncoder, Protocol):
    """An encoder whose state depends on the last few steps only, so it encodes all steps of a log at once."""

    def encode_episodes(self, obs: Observation, action: Tensor, age: Tensor) -> Tensor:
        """States "R Z" of the rows "R ..." of whole episodes that follow each other. ``age`` "R", int64, counts the
        steps since the start of a row's episode."""


@runtime_checkable
class WorldModel(StateEncoder, Protocol):
    """What policies, planners and penalties use of a world model. They depend only on this interface, whether the model
    is latent, recurrent, Bayesian or none of these."""

    action_dim: int
    reward_scale: float  # standard deviation of the logged reward: the unit of every penalty
    recurrent: bool  # True: trained on windows of steps; False: on single transitions

    @property
    def exogenous_dim(self) -> int:
        """Number of exogenous features, X: inputs that no action changes, which are given and never predicted."""

    @property
    def elites(self) -> Tensor:
        """Indices "E" of the members that are sampled, int64."""

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """Every member's distribution "M B D" of the step from ``state`` "B Z" by ``action`` "B A". Deterministic."""

    def draw(
        self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator | None, member: Tensor | None
    ) -> Step:
        """Sample one step from ``prediction``, reparameterized; all noise of a rollout's dynamics is drawn here.

        ``member`` "B" chooses the member of each row (TS-infinity, Chua et al. 2018, arXiv:1805.12114); None draws an
        elite for each row. Without ``generator``, the step is the mean over the members, without noise.
        """

    def inputs(self, state: Tensor) -> Tensor:
        """The exogenous values "... X" in states "... Z", normalized as in the states."""

    def condition(
        self, state: Tensor, action: Tensor, prediction: Prediction, step: Step, inputs: Tensor
    ) -> tuple[Prediction, Step]:
        """``prediction`` and the ``step`` drawn from it, once the exogenous values ``inputs`` "B X" after the step are
        known. Without this call a step holds the exogenous values of ``state``."""

    def measured(self, batch: Transitions) -> Tensor | None:
        """Where the targets "B D" of these steps were measured, 1.0 or 0.0; None if all were. The others hold old
        values, and no error counts them."""

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One random member for each row, "B", int64, to be kept for a whole rollout."""

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """This model with ``count`` new weight samples (None: as many as its config says), fixed for one rollout or
        plan. An ensemble returns itself and draws nothing.

        Without a call, one fixed sample set is used, so evaluation is deterministic.
        """

    def decode(self, state: Tensor) -> Observation:
        """The observations of states "B Z", in the environment's own units."""

    def actor_encoder(self) -> StateEncoder:
        """The part that an agent needs to act: the encoder of a Markov model, all of a recurrent one."""

    def targets(self, batch: Transitions) -> Tensor:
        """The training targets "B D" of these steps, in the units of ``Prediction.mean``."""


@runtime_checkable
class StatesFirst(Protocol):
    """A world model whose rewards and ends follow from its states, so a rollout computes them once for all steps. Leave
    it out of a model where they are part of the sample."""

    def move(
        self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator | None, member: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The fields ``state``, ``member`` and ``sample`` of the step that :meth:`WorldModel.draw` samples."""

    def outcomes(self, states: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """The fields ``reward`` and ``continue_prob`` "B T" of the steps along ``states`` "B T+1 Z" by ``action``
        "B T A"."""


@runtime_checkable
class Penalty(Protocol):
    """Uncertainty of one imagined step, "B", in units of reward, never negative."""

    kind: str  # aleatoric (noise of the environment), epistemic (more logs would reduce it) or total (their sum)

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Fit on training data, before the first call; optional."""

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """The penalty "B" of the step from ``state`` "B Z" by ``action`` "B A". ``prediction`` "M B D" is the model's
        distribution of that step, and ``sample`` "B D" was drawn from it."""


Value = Callable[[Tensor], Tensor]  # states "B Z" -> a learner's estimate of their return, "B"


@runtime_checkable
class ValuePenalty(Penalty, Protocol):
    """A penalty that depends on the learner's current value function. A call without one returns zero."""

    def penalty_under_value(
        self,
        model: WorldModel,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        value: Value,
        generator: Generator,
    ) -> Tensor:
        """The penalty "B" of the step from ``state`` "B Z" by ``action`` "B A", in units of ``value``. ``prediction``
        "M B D" is the model's distribution of that step."""


@runtime_checkable
class Actor(Protocol):
    """A source of actions for imagination: a policy, a plan, or the logged actions."""

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        """Actions "B A" in [-1, 1] for states "B Z" at imagined step ``t``; without ``generator``, the mode."""


class FutureSource(Protocol):
    """Logs from which imagination replays exogenous values."""

    def after(self, row: Tensor, horizon: int) -> Future:
        """The exogenous values of the ``horizon`` steps after the logged rows ``row`` "B", on the device of ``row``."""


__all__ = [
    "Actor",
    "FutureSource",
    "StateEncoder",
    "StatesFirst",
    "Metrics",
    "Penalty",
    "Value",
    "ValuePenalty",
    "WindowEncoder",
    "WorldModel",
    "first_state",
]
