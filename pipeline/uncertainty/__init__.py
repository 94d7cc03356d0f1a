"""Penalties: the uncertainty of a world model about one imagined step."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass

from pipeline.imagination import AUTO
from pipeline.protocols import Penalty as AnyPenalty
from pipeline.uncertainty.bellman import Bellman
from pipeline.uncertainty.distance import Distance
from pipeline.uncertainty.penalties import MEASURES, Measure, Penalty
from pipeline.validation import OPTIONS, Members, NonNegativeFloat, OneOf, SmallCount

PENALTIES: dict[str, "Callable[[PenaltySpec], AnyPenalty]"] = {
    **{name: lambda c: Penalty(c.name) for name in MEASURES},
    "distance": lambda c: Distance(c.neighbors),
    "bellman": lambda c: Bellman(c.samples),
}


@dataclass(frozen=True, config=OPTIONS)
class PenaltyConfig:
    """The block ``penalty`` of params.yaml."""

    # which measure of the model's uncertainty: one of its predictions, distance (to the logs), bellman (disagreement of
    # the members about the learner's own value), or auto (the best of the assessment; not for planners)
    name: Annotated[str, OneOf([*PENALTIES, AUTO])] = "ensemble_std"
    # weight of the penalty in the learner's reward, without a unit; auto: the expected error of a step on held-out logs
    weight: NonNegativeFloat | Literal["auto"] = AUTO
    neighbors: SmallCount = 5  # logged steps that `distance` is measured to
    samples: Members = 10  # next states that `bellman` draws from each elite


@dataclass(frozen=True, config=OPTIONS)
class PenaltySpec:
    """The same once ``auto`` is resolved (:func:`pipeline.uncertainty.auto.resolve_auto`)."""

    name: Annotated[str, OneOf(PENALTIES)] = "ensemble_std"
    weight: NonNegativeFloat = 0.0
    neighbors: SmallCount = 5
    samples: Members = 10


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
