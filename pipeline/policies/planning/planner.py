"""The base class of planners: plan in imagination, execute the first action, observe, plan again (receding-horizon
control, also called model predictive control)."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Generic, Self, TypeVar

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn

from pipeline.imagination import Imagination
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.planning.noise import colored
from pipeline.policies.planning.objective import Objective
from pipeline.policies.protocols import Critic
from pipeline.policies.sac import SAC, SACConfig
from pipeline.seeding import generator
from pipeline.types import Rollout, TensorFields
from pipeline.validation import (
    OPTIONS,
    Flag,
    Float,
    Int,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Seed,
    SmallCount,
)

MAX_PLAN_HORIZON = 1000  # steps of a plan
Color = Annotated[Float, Field(ge=-10, le=10)]  # exponent of a noise spectrum
Score = Callable[[Tensor], Tensor]  # plans "E N T A" -> their values "E N"


@dataclass(frozen=True, config=OPTIONS)
class PlannerConfig:
    """E episodes are planned for side by side, each with N plans of T steps."""

    horizon: Annotated[Int, Field(ge=1, le=MAX_PLAN_HORIZON)] = 20  # steps of a plan, T
    population: PositiveInt = 100  # plans drawn in each iteration, N
    iterations: SmallCount = 4  # rounds of drawing and refitting
    elites: PositiveInt = 10  # the best plans, from which the next are drawn
    noise: NonNegativeFloat = 0.5  # standard deviation of the first plans; actions lie in [-1, 1]
    color: Color = 0.0  # exponent of the noise spectrum over the steps of a plan: 0 white, 1 pink, 2 red
    warm_start: Flag = True  # whether to start from the last step's plan, shifted by one step
    discount: Annotated[Float, Field(gt=0, le=1)] = 0.99  # discount of future rewards
    penalty_cap: NonNegativeFloat | None = None  # penalty that ends a plan, in standard deviations of the logged reward
    particles: NonNegativeInt = 0  # drawn futures of each plan; 0: the one future of the members' mean
    # options of a `sac` that is trained first, and then values the last states of plans; null: none
    terminal_value: SACConfig | None = None
    seed: Seed = 0  # seed of all draws; every episode starts with the same draws

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.elites > self.population:
            raise ValueError(f"elites {self.elites} must be at most population {self.population}")
        if self.terminal_value is not None and self.terminal_value.discount != self.discount:
            raise ValueError(f"terminal_value.discount must be the planner's own, {self.discount}")
        return self


@dataclasses.dataclass(frozen=True)
class Plan(TensorFields):
    """The result of a search; actions lie in [-1, 1]."""

    action: Annotated[Tensor, "E T A"]  # to execute
    mean: Annotated[Tensor, "E T A"]  # the mean of the samples of a later search
    candidates: Annotated[Tensor, "E K T A"]  # plans that a later search evaluates again

    def shifted(self) -> "Plan":
        """The same plans from the next step on; the last action is repeated."""
        return self.map(lambda x: torch.cat([x[..., 1:, :], x[..., -1:, :]], dim=-2))


C_co = TypeVar("C_co", bound=PlannerConfig, covariant=True)


class Planner(nn.Module, ABC, Generic[C_co]):
    """A search over plans (:meth:`search`) and the objective that scores them
    (:class:`pipeline.policies.planning.objective.Objective`).

    Its only weights are those of ``student``: a SAC that values the last states of plans and proposes a candidate.
    Without ``terminal_value`` there is no student and no training.
    """

    Config: type[PlannerConfig]
    plans = True
    discrete = False

    def __init__(self, config: C_co, task: LearnerSpec, imagination: Imagination) -> None:
        super().__init__()
        self.config = config
        self.action_dim = task.action_dim
        self.student = None if config.terminal_value is None else SAC(config.terminal_value, task)
        self.objective = Objective(
            imagination,
            weight=task.penalty_weight,
            discount=config.discount,
            lowest_reward=task.reward_low,
            cap=config.penalty_cap,
            particles=config.particles,
            value=None if self.student is None else self._last_value,
        )

    @abstractmethod
    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        """A better plan than ``start``. ``score`` maps plans "E N T A" to their values "E N"."""

    @torch.no_grad()
    def plan(self, state: Annotated[Tensor, "E Z"], previous: Plan | None, generator: Generator) -> Plan:
        """The best plan for each state; the search starts from ``previous``, or from zero actions if it is None."""
        start = self._zero_plan(state) if previous is None else previous
        if self.student is not None:
            start = Plan(start.action, start.mean, torch.cat([start.candidates, self._proposal(state)], dim=1))
        return self.search(lambda plans: self.objective(state, plans, generator), start, generator)

    def act(self, state: Annotated[Tensor, "E Z"], generator: Generator | None) -> Annotated[Tensor, "E A"]:
        """The first action of a plan without warm start; without ``generator``, the draws depend on the seed alone."""
        return self.plan(state, None, generator or self.draws(state)).action[:, 0]

    def critic_for_states(self) -> Critic | None:
        """The student, or None without a terminal value."""
        return self.student

    def action_density(self) -> str:
        """The reason why there is no density."""
        return "the policy has no actor network, so no density"

    def receding(self) -> "RecedingActor":
        """A receding-horizon actor for new episodes."""
        return RecedingActor(self)

    @torch.no_grad()
    def predicted_rollout(self, state: Annotated[Tensor, "E Z"]) -> Rollout:
        """The rollout that the model predicts for a plan without warm start from each state."""
        draws = self.draws(state)
        return self.objective.rollout(state, self.plan(state, None, draws).action, draws)

    def draws(self, like: Tensor) -> Generator:
        """A new generator for one episode, on the device of ``like``; its state depends on the seed alone."""
        return generator(self.config.seed, "plan", device=like.device)

    def _sample_plans(
        self, count: int, mean: Tensor, std: Tensor | float, generator: Generator
    ) -> Annotated[Tensor, "E N T A"]:
        """``count`` plans around ``mean`` "E T A"; the first of them is the mean itself.

        All episodes share the noise, so the plan of one episode does not depend on the others in the batch.
        """
        noise = colored((count, *mean.shape[1:]), self.config.color, generator)
        noise[0] = 0
        spread = std[:, None] if isinstance(std, Tensor) else std
        return (mean[:, None] + spread * noise).clamp(-1, 1)

    def _zero_plan(self, state: Tensor) -> Plan:
        mean = state.new_zeros(len(state), self.config.horizon, self.action_dim)
        return Plan(mean, mean, mean[:, None][:, :0])

    def _proposal(self, state: Tensor) -> Annotated[Tensor, "E 1 T A"]:
        """The student's actions in a rollout without noise."""
        assert self.student is not None
        student = self.student

        def actor(state: Tensor, t: int, generator: Generator | None) -> Tensor:
            return student.act(state, None)

        return self.objective.imagination.rollout(actor, state, self.config.horizon, None).action[:, None]

    def _last_value(self, state: Tensor) -> Tensor:
        assert self.student is not None
        return self.student.critics(state, self.student.act(state, None)).amin(0)


def best_plans(score: Score, samples: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best of the samples "E N T A" and candidates "E K T A", and their scores "E count", best first."""
    plans = torch.cat([samples, candidates], dim=1)
    scores, rows = score(plans).topk(count, dim=1)
    return plans.take_along_dim(rows[..., None, None], dim=1), scores


class RecedingActor:
    """Plans again at every step, starting from its previous plan. Use a new one for each batch of episodes."""

    def __init__(self, planner: Planner[PlannerConfig]) -> None:
        self.planner = planner
        self.last: Plan | None = None
        self.draws: Generator | None = None

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        """The actions "E A" for states "E Z". It ignores ``generator`` and draws from one that starts the same for
        every episode, so that episodes are reproducible."""
        self.draws = self.draws or self.planner.draws(state)
        previous = self.last.shifted() if self.last is not None and self.planner.config.warm_start else None
        self.last = self.planner.plan(state, previous, self.draws)
        return self.last.action[:, 0]
