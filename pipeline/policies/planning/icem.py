"""The improved cross-entropy method (iCEM, Pinneri et al. 2020, arXiv:2008.06389), which needs fewer samples."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator

from pipeline.policies.planning.cem import CEMConfig
from pipeline.policies.planning.planner import Color, Plan, Planner, Score, best_plans
from pipeline.validation import OPTIONS, Float, Fraction


@dataclass(frozen=True, config=OPTIONS)
class ICEMConfig(CEMConfig):
    """Options of ``policy.name: icem``."""

    color: Color = 2.0  # exponent of the noise spectrum over the steps of a plan: 0 white, 1 pink, 2 red
    # the population shrinks by it each iteration, to twice the elites
    decay: Annotated[Float, Field(ge=1, le=100)] = 1.25
    keep: Fraction = 0.3  # share of the elites that the next iteration and the next step try again


class ICEM(Planner[ICEMConfig]):
    """CEM with colored noise, reused elites and a shrinking population; executes the last best plan."""

    Config = ICEMConfig

    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        """The best plan of the last iteration; a share of its elites are the next candidates."""
        c = self.config
        mean = start.mean
        std = torch.full_like(mean, c.noise)
        candidates = start.candidates
        for i in range(c.iterations):
            count = max(round(c.population * c.decay**-i), min(2 * c.elites, c.population))
            elites, _ = best_plans(score, self._sample_plans(count, mean, std, generator), candidates, c.elites)
            candidates = elites[:, : round(c.keep * c.elites)]
            mean = elites.mean(1).lerp(mean, c.momentum)
            std = elites.std(1, correction=0).lerp(std, c.momentum)
        return Plan(elites[:, 0], mean, candidates)
