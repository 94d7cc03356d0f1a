"""Model predictive path integral control (MPPI, Williams et al. 2017, arXiv:1707.02342)."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator

from pipeline.policies.planning.planner import Plan, Planner, PlannerConfig, Score, best_plans
from pipeline.validation import OPTIONS, Float, PositiveFloat


@dataclass(frozen=True, config=OPTIONS)
class MPPIConfig(PlannerConfig):
    """Options of ``policy.name: mppi``."""

    temperature: PositiveFloat = 0.5  # low: the best plan dominates; in standard deviations of the elites' returns
    anneal: Annotated[Float, Field(gt=0, le=1)] = 0.7  # the noise shrinks by it each iteration; 1: as published


class MPPI(Planner[MPPIConfig]):
    """Averages sampled plans with weights that are exponential in their scores; executes the final mean.

    Only the elites get weight (as in TD-MPC, Hansen et al. 2022, arXiv:2203.04955). Scores are divided by their
    standard deviation, so the temperature has no unit. The noise is annealed (DIAL-MPC, Xue et al. 2024,
    arXiv:2409.15610).
    """

    Config = MPPIConfig

    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        """The weighted mean of the last iteration; no candidates are passed on."""
        c = self.config
        mean = start.mean
        for i in range(c.iterations):
            plans = self._sample_plans(c.population, mean, c.noise * c.anneal**i, generator)
            elites, scores = best_plans(score, plans, start.candidates, c.elites)
            spread = scores.std(1, correction=0, keepdim=True).clamp(min=1e-8)
            weight = ((scores - scores[:, :1]) / (c.temperature * spread)).softmax(1)
            mean = (weight[..., None, None] * elites).sum(1)
        return Plan(mean, mean, start.candidates[:, :0])
