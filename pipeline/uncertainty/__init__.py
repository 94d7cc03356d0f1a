"""Penalties: the uncertainty of a world model about one imagined step."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.imagination import AUTO
from pipeline.protocols import Penalty as AnyPenalty
from pipeline.uncertainty.bellman import Bellman
from pipeline.uncertainty.distance import Distance
from pipeline.uncertainty.penalties import MEASURES, Measure, Penalty


@dataclass(frozen=True)
class PenaltyConfig:
    """The block ``penalty`` of params.yaml."""

    name: str = "ensemble_std"  # or auto: the best of the assessment; not for planners
    weight: int | float | str = AUTO  # in the learner's reward; has no unit; auto: the error to be expected of a step
    neighbors: int = 5  # of distance: logged steps that it is measured to
    samples: int = 10  # of bellman: next states drawn from each elite

    def __post_init__(self) -> None:
        if self.name not in (*PENALTIES, AUTO):
            raise ValueError(f"name `{self.name}` must be {AUTO} or one of {', '.join(PENALTIES)}")
        if isinstance(self.weight, str):
            if self.weight != AUTO:
                raise ValueError(f"weight `{self.weight}` must be a number or {AUTO}")
        elif self.weight < 0:
            raise ValueError(f"weight {self.weight} is negative; a bonus for uncertainty is not pessimism")
        if min(self.neighbors, self.samples) < 1:
            raise ValueError("neighbors and samples must be at least 1")


@dataclass(frozen=True)
class PenaltySpec:
    """The same once ``auto`` is resolved (:func:`pipeline.uncertainty.auto.resolve_auto`)."""

    name: str = "ensemble_std"
    weight: float = 0.0
    neighbors: int = 5
    samples: int = 10


PENALTIES: dict[str, Callable[[PenaltySpec], AnyPenalty]] = {
    **{name: lambda c: Penalty(c.name) for name in MEASURES},
    "distance": lambda c: Distance(c.neighbors),
    "bellman": lambda c: Bellman(c.samples),
}


def build_penalty(spec: PenaltySpec) -> AnyPenalty:
    """A new penalty as ``spec`` describes it, before ``fit``."""
    return PENALTIES[spec.name](spec)


__all__ = [
    "MEASURES",
    "PENALTIES",
    "Bellman",
    "Distance",
    "Measure",
    "Penalty",
    "PenaltyConfig",
    "PenaltySpec",
    "build_penalty",
]
