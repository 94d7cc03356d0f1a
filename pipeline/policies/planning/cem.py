"""The cross-entropy method (Rubinstein 1999; de Boer et al. 2005), as PETS plans with it (Chua et al. 2018,
arXiv:1805.12114)."""

from dataclasses import dataclass

from torch import Generator

from pipeline.policies.planning.planner import Plan, Planner, PlannerConfig, Score, best_of


@dataclass(frozen=True)
class CEMConfig(PlannerConfig):
    momentum: float = 0.1  # share of the old mean and standard deviation in the new ones

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum} must lie between 0 and 1")


class CEM(Planner):
    """Draws plans from a Gaussian, fits it to the best of them, draws again; does the mean it ends with."""

    Config = CEMConfig

    def search(self, score: Score, start: Plan, generator: Generator) -> Plan:
        c, mean, std = self.config, start.mean, start.mean.new_full(start.mean.shape, self.config.noise)
        for _ in range(c.iterations):
            drawn = self._drawn(c.population, mean, std, generator)
            best, _ = best_of(score, drawn, start.kept, c.elites)
            mean = best.mean(1).lerp(mean, c.momentum)
            std = best.std(1, correction=0).lerp(std, c.momentum)
        return Plan(mean, mean, start.kept[:, :0])
