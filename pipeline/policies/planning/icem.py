"""The improved cross-entropy method (iCEM, Pinneri et al. 2020, arXiv:2008.06389): fewer plans, better used."""

from dataclasses import dataclass

from torch import Generator

from pipeline.policies.planning.cem import CEMConfig
from pipeline.policies.planning.planner import Plan, Planner, Score, best_of


@dataclass(frozen=True)
class ICEMConfig(CEMConfig):
    color: float = 2.0
    decay: float = 1.25  # the population shrinks by it from iteration to iteration, down to twice the elites
    keep: float = 0.3  # share of the elites that are tried again, in the next iteration and at the next step

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay < 1 or not 0 <= self.keep <= 1:
            raise ValueError(f"decay {self.decay} must be at least 1, keep {self.keep} between 0 and 1")


class ICEM(Planner):
    """CEM with colored noise, elites that are kept and shifted, and a population that shrinks; does the best plan."""

    Config = ICEMConfig

    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        c, mean, std = self.config, start.mean, start.mean.new_full(start.mean.shape, self.config.noise)
        kept = start.kept
        for i in range(c.iterations):
            count = max(round(c.population * c.decay**-i), min(2 * c.elites, c.population))
            best, _ = best_of(score, self._drawn(count, mean, std, generator), kept, c.elites)
            kept = best[:, : round(c.keep * c.elites)]
            mean = best.mean(1).lerp(mean, c.momentum)
            std = best.std(1, correction=0).lerp(std, c.momentum)
        return Plan(best[:, 0], mean, kept)
