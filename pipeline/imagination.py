"""The rollout loop. Policies, planners and open-loop tests all use it; logged actions are an actor too."""

from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.protocols import Actor, FutureSource, Penalty, StatesFirst, Value, ValuePenalty, WorldModel
from pipeline.types import Future, Prediction, Rollout, Transitions
from pipeline.validation import OPTIONS, Flag, Float, Fraction, Horizon, NonNegativeFloat, OneOf, PositiveInt

AUTO: Literal["auto"] = "auto"  # in params.yaml: take the value from the assessment of the world model
CPU_ROWS = 512  # on a CPU, the members' activations for so many rows stay in its cache
QUANTILES = (0.5, 0.9, 0.95, 0.99)  # the assessment measures these quantiles of a penalty over held-out logs


@dataclass(frozen=True, config=OPTIONS)
class RolloutOptions:
    """What both of the classes below hold."""

    starts: PositiveInt = 5000  # logged states from which each refresh imagines
    refresh_every: PositiveInt = 1000  # policy updates between refreshes of the imagined steps
    retain: PositiveInt = 5  # refreshes whose imagined steps are kept
    real_ratio: Fraction = 0.05  # share of logged transitions in a policy batch
    # true: one member predicts a whole rollout (TS-infinity of PETS); false: a member is drawn at each step
    fixed_member: Flag = False
    # penalty that ends a rollout (as in MOReL), in standard deviations of the logged reward; null: none
    halt_above: NonNegativeFloat | None = None


@dataclass(frozen=True, config=OPTIONS)
class RolloutConfig(RolloutOptions):
    """The block ``rollout`` of params.yaml."""

    length: Horizon | Literal["auto"] = AUTO  # imagined steps; auto: the trusted horizon, at most 20
    # halt_above as a quantile of the penalty over held-out logs: 0.5, 0.9, 0.95 or 0.99
    halt_quantile: Annotated[Float, OneOf(QUANTILES)] | None = None

    @model_validator(mode="after")
    def _one_halt(self) -> Self:
        if self.halt_quantile is not None and self.halt_above is not None:
            raise ValueError("halt_quantile and halt_above exclude each other: set one of them to null")
        return self


@dataclass(frozen=True, config=OPTIONS)
class RolloutSpec(RolloutOptions):
    """The same once ``auto`` is resolved (:func:`pipeline.uncertainty.auto.resolve_auto`)."""

    length: Horizon = 5  # imagined steps


def rows_at_once(state: Tensor) -> int:
    """How many rows of states "B Z" to imagine at once: few on a CPU, all on a GPU."""
    return CPU_ROWS if state.device.type == "cpu" else max(len(state), 1)


class Imagination:
    """A world model and a penalty on its predictions; without a penalty, all penalties are zero.

    ``logs`` give the exogenous values that follow logged states; None where there are none.
    """

    def __init__(self, model: WorldModel, penalty: Penalty | None = None, logs: FutureSource | None = None) -> None:
        self.model = model
        self.penalty = penalty
        self.logs = logs

    def future(self, row: Tensor, horizon: int) -> Future | None:
        """The logged exogenous values of the ``horizon`` steps after the logged rows ``row`` "B"; None without any."""
        return None if self.logs is None else self.logs.after(row, horizon)

    def to(self, device: torch.device | str) -> None:
        """Move the world model to ``device``."""
        if isinstance(self.model, nn.Module):
            self.model.to(device)

    def rollout(
        self,
        actor: Actor,
        start: Tensor,
        horizon: int,
        generator: Generator | None,
        fixed_member: bool = False,
        halt_above: float | None = None,
        value: Value | None = None,
        future: Future | None = None,
    ) -> Rollout:
        """Imagine ``horizon`` steps from states ``start`` "B Z".

        Without a generator, actor and model use their means. With one, a Bayesian model draws its weights once for the
        whole rollout (``sample_members``), and ``fixed_member`` keeps one member for each row.

        A rollout that has ended stays in the batch with ``alive`` 0. Penalties above ``halt_above``, in standard
        deviations of the logged reward, end a rollout; None for no limit. ``value`` is the value function for a
        :class:`ValuePenalty`; without it such a penalty is zero. ``future`` gives the exogenous values of the
        steps; without it they stay as in ``start``. Gradients flow from the rollout to the actor unless the caller
        disables them.
        """
        model = self.model if generator is None else self.model.sample_members(generator)
        member = model.draw_members(len(start), generator) if fixed_member and generator is not None else None
        late = model if isinstance(model, StatesFirst) and future is None else None
        states, steps, outcomes = [start], [], []
        for t in range(horizon):
            state = states[-1]
            action = actor(state, t, generator)
            prediction = model.predict(state, action)
            if late is not None:
                next_state, _, sample = late.move(state, action, prediction, generator, member)
            else:
                step = model.draw(state, action, prediction, generator, member)
                if future is not None:
                    prediction, step = model.condition(state, action, prediction, step, future.inputs[:, t])
                next_state, sample = step.state, step.sample
                outcomes.append((step.reward, step.continue_prob))
            penalty = self._penalty(model, state, action, prediction, sample, value, generator)
            steps.append((action, penalty))
            states.append(next_state)
        state = torch.stack(states, 1)
        action, penalty = (torch.stack(x, 1) for x in zip(*steps, strict=True))
        stacked = (torch.stack(x, 1) for x in zip(*outcomes, strict=True))
        reward, continue_prob = stacked if late is None else late.outcomes(state, action)
        limit = float("inf") if halt_above is None else halt_above * model.reward_scale
        # No step depends on whether its rollout has ended, so that is computed once for all steps.
        terminal, halted = (continue_prob < 0.5).to(reward.dtype), (penalty > limit).to(reward.dtype)
        alive = _alive(terminal, halted, None if future is None else future.present[:, :horizon])
        return Rollout(action, state, reward, penalty, continue_prob, terminal, halted, alive)

    @property
    def needs_value(self) -> bool:
        """Whether penalties depend on the learner's value, so that each update computes them anew
        (:meth:`recompute_penalties`)."""
        return isinstance(self.penalty, ValuePenalty)

    @torch.no_grad()
    def recompute_penalties(self, steps: Transitions, value: Value, generator: Generator) -> Transitions:
        """``steps`` with the penalties of imagined steps under ``value``, in its units; logged steps have penalty 0."""
        assert isinstance(self.penalty, ValuePenalty)
        imagined = (steps.logged == 0).nonzero().squeeze(1)
        state, action = steps.state.index_select(0, imagined), steps.action.index_select(0, imagined)
        penalty = self.penalty.penalty_under_value(
            self.model, state, action, self.model.predict(state, action), value, generator
        )
        return replace(steps, penalty=torch.zeros_like(steps.penalty).index_copy(0, imagined, penalty))

    def _penalty(
        self,
        model: WorldModel,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        sample: Tensor,
        value: Value | None,
        generator: Generator | None,
    ) -> Tensor:
        if self.penalty is None:
            return torch.zeros_like(state[:, 0])
        if value is not None and isinstance(self.penalty, ValuePenalty):
            assert generator is not None, "a value penalty samples next states"
            return self.penalty.penalty_under_value(model, state, action, prediction, value, generator)
        return self.penalty(model, state, action, prediction, sample)


def _alive(
    terminal: Annotated[Tensor, "B T"], halted: Annotated[Tensor, "B T"], present: Annotated[Tensor, "B T"] | None
) -> Annotated[Tensor, "B T"]:
    """1.0 until a step ends the rollout, by itself or with the log of its exogenous values; 0.0 afterwards."""
    goes_on = ((1 - terminal) * (1 - halted))[:, :-1]
    if present is not None:
        goes_on = goes_on * present[:, 1:]
    return torch.cat([torch.ones_like(terminal[:, :1]), goes_on.cumprod(1)], dim=1)
