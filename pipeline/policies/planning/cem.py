"""The cross-entropy method (CEM; Rubinstein 1999; de Boer et al. 2005) as used in PETS (Chua et al. 2018,
arXiv:1805.12114)."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator

from pipeline.policies.planning.planner import Plan, Planner, PlannerConfig, Score, best_plans
from pipeline.validation import OPTIONS, Float


@dataclass(frozen=True, config=OPTIONS)
class CEMConfig(PlannerConfig):
    """Options of ``policy.name: cem``."""

    momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.1  # share of the old mean and deviation in the new ones


class CEM(Planner[CEMConfig]):
    """Samples plans from a Gaussian and refits it to the elites in each iteration; executes the final mean."""

    Config = CEMConfig

    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        """The mean of the last iteration; no candidates are passed on."""
        c = self.config
        mean = start.mean
        std = torch.full_like(mean, c.noise)
        for _ in range(c.iterations):
            plans = self._sample_plans(c.population, mean, std, generator)
            elites, _ = best_plans(score, plans, start.candidates, c.elites)
            mean = elites.mean(1).lerp(mean, c.momentum)
            std = elites.std(1, correction=0).lerp(std, c.momentum)
        return Plan(mean, mean, start.candidates[:, :0])
