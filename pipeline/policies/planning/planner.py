"""What all planners share: plan in imagination, do the first step, see what comes of it, plan again (receding
horizon)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Generator, Tensor, nn

from pipeline.imagination import Imagination
from pipeline.policies.planning.noise import colored
from pipeline.policies.planning.objective import Objective
from pipeline.policies.protocols import Critic
from pipeline.policies.sac import SAC, SACConfig
from pipeline.policies.task import LearnerSpec
from pipeline.seeding import generator
from pipeline.types import Rollout, TensorFields

LONGEST = 1000  # steps of a plan
Score = Callable[[Tensor], Tensor]  # plans "E N T A" -> worth "E N"


@dataclass(frozen=True)
class PlannerConfig:
    """E episodes are planned for side by side, each with N plans of T steps."""

    horizon: int = 20  # steps of a plan, T
    population: int = 100  # plans drawn in each iteration, N
    iterations: int = 4
    elites: int = 10  # the best plans, from which the next are drawn
    noise: float = 0.5  # standard deviation of what is drawn first; actions lie in [-1, 1]
    color: float = 0.0  # of that noise over the steps of a plan: 0 white, 1 pink, 2 red
    warm_start: bool = True  # from the last step's plan, shifted
    discount: float = 0.99
    penalty_cap: float | None = None  # penalty that halts a plan, in standard deviations of the logged reward
    particles: int = 0  # drawn futures of each plan; 0: the one of the members' mean
    terminal_value: SACConfig | None = None  # null, or options of a `sac` that is learned first: it values last states
    seed: int = 0  # of what is drawn; every episode starts with the same draws

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= LONGEST:
            raise ValueError(f"horizon {self.horizon} must lie between 1 and {LONGEST}")
        if not 1 <= self.elites <= self.population or self.iterations < 1 or self.particles < 0:
            raise ValueError("elites must lie between 1 and population, iterations from 1 on, particles from 0 on")
        if not 0 < self.discount <= 1 or self.noise < 0 or (self.penalty_cap or 0) < 0:
            raise ValueError("discount must lie above 0 and up to 1; noise and penalty_cap must not be negative")
        if self.terminal_value is not None and self.terminal_value.discount != self.discount:
            raise ValueError(f"terminal_value.discount must be the planner's own, {self.discount}")


@dataclass(frozen=True)
class Plan(TensorFields):
    """What a search found, in [-1, 1]."""

    action: Annotated[Tensor, "E T A"]  # to be done
    mean: Annotated[Tensor, "E T A"]  # to be drawn around when going on from here
    kept: Annotated[Tensor, "E K T A"]  # to be tried again

    def shifted(self) -> "Plan":
        """The same plans a step later; what they do last they do once more."""
        return self.map(lambda x: torch.cat([x[..., 1:, :], x[..., -1:, :]], dim=-2))


class Planner(nn.Module, ABC):
    """A search (``search``) over plans, and what they are worth
    (:class:`pipeline.policies.planning.objective.Objective`).

    The only weights are those of ``student``, the SAC that values last states and proposes a plan; without
    ``terminal_value`` there is none, and nothing to learn.
    """

    Config: Any
    plans = True

    def __init__(self, config: Any, task: LearnerSpec, imagination: Imagination) -> None:
        super().__init__()
        self.config, self.action_dim, value = config, task.action_dim, None
        self.student: SAC | None = None
        if config.terminal_value is not None:
            self.student = SAC(config.terminal_value, task)
            value = self._last_value
        told = (task.penalty_weight, config.discount, task.reward_low, config.penalty_cap, config.particles)
        self.objective = Objective(imagination, *told, value)

    @abstractmethod
    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        """A better plan than ``start``."""

    @torch.no_grad()
    def plan(self, state: Annotated[Tensor, "E Z"], previous: Plan | None, generator: Generator) -> Plan:
        """The best plan found from each state, searched from ``previous`` on where it is given."""
        start = self._nothing(state) if previous is None else previous
        if self.student is not None:
            start = Plan(start.action, start.mean, torch.cat([start.kept, self._proposal(state)], dim=1))
        return self.search(lambda plans: self.objective(state, plans, generator), start, generator)

    def act(self, state: Annotated[Tensor, "E Z"], generator: Generator | None) -> Annotated[Tensor, "E A"]:
        """The first action of a plan made from nothing."""
        return self.plan(state, None, generator or self.draws(state)).action[:, 0]

    def critic_for_states(self) -> Critic | None:
        return self.student

    def action_density(self) -> str:
        return "the policy has no actor network, so no density"

    def receding(self) -> "Receding":
        """An actor for episodes that start now."""
        return Receding(self)

    @torch.no_grad()
    def foreseen(self, state: Annotated[Tensor, "E Z"]) -> Rollout:
        """A plan made from nothing, and what the model expects of it."""
        draws = self.draws(state)
        return self.objective.rollout(state, self.plan(state, None, draws).action, draws)

    def draws(self, like: Tensor) -> Generator:
        """What an episode draws from."""
        return generator(self.config.seed, "plan", device=like.device)

    def _drawn(
        self, count: int, mean: Tensor, std: Tensor | float, generator: Generator
    ) -> Annotated[Tensor, "E N T A"]:
        """``count`` plans around ``mean`` "E T A", which is the first of them.

        All episodes share the noise: what is planned for one does not depend on those beside it.
        """
        noise = colored((count, *mean.shape[1:]), self.config.color, generator)
        noise[0] = 0
        spread = std[:, None] if isinstance(std, Tensor) else std
        return (mean[:, None] + spread * noise).clamp(-1, 1)

    def _nothing(self, state: Tensor) -> Plan:
        mean = state.new_zeros(len(state), self.config.horizon, self.action_dim)
        return Plan(mean, mean, mean[:, None][:, :0])

    def _proposal(self, state: Tensor) -> Annotated[Tensor, "E 1 T A"]:
        """What the student would do."""
        assert self.student is not None
        student = self.student
        actor = lambda state, t, generator: student.act(state, None)  # noqa: E731
        return self.objective.imagination.rollout(actor, state, self.config.horizon, None).action[:, None]

    def _last_value(self, state: Tensor) -> Tensor:
        assert self.student is not None
        return self.student.critics(state, self.student.act(state, None)).amin(0)


def best_of(score: Score, drawn: Tensor, kept: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best of the plans "E N T A" and "E K T A", and their worth "E count"; the best come first."""
    plans = torch.cat([drawn, kept], dim=1)
    worth, rows = score(plans).topk(count, dim=1)
    return plans.take_along_dim(rows[..., None, None], dim=1), worth


class Receding:
    """The actor that plans anew at every step, from its last plan on. It belongs to the episodes it began with."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.last: Plan | None = None
        self.draws: Generator | None = None

    def __call__(self, state: Tensor, t: int, generator: Generator | None) -> Tensor:
        """The action "E A" for states "E Z"; it draws from its planner's own generator, so that episodes repeat."""
        self.draws = self.draws or self.planner.draws(state)
        previous = self.last.shifted() if self.last is not None and self.planner.config.warm_start else None
        self.last = self.planner.plan(state, previous, self.draws)
        return self.last.action[:, 0]
