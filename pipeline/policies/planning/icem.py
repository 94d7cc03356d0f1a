"""The improved cross-entropy method (iCEM, Pinneri et al. 2020, arXiv:2008.06389), which needs fewer samples."""

from dataclasses import dataclass

import torch
from torch import Generator

from pipeline.policies.planning.cem import CEMConfig
from pipeline.policies.planning.planner import Plan, Planner, Score, best_plans


@dataclass(frozen=True)
class ICEMConfig(CEMConfig):
    color: float = 2.0
    decay: float = 1.25  # the population shrinks by it from iteration to iteration, down to twice the elites
    keep: float = 0.3  # share of the elites that are tried again, in the next iteration and at the next step

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay < 1 or not 0 <= self.keep <= 1:
            raise ValueError(f"decay {self.decay} must be at least 1, keep {self.keep} between 0 and 1")


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
