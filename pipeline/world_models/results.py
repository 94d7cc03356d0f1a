"""Measurements of world models that stages store and the report reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TerminationQuality:
    """How well predicted ends agree with logged ones; None where undefined."""

    precision: float | None
    recall: float | None
    positives: int  # logged terminals


@dataclass(frozen=True)
class TerminationRecord(TerminationQuality):
    """How imagined episodes end, in words, and how well that agrees with held-out steps."""

    used: str


@dataclass(frozen=True)
class WorldModelHistory:
    """Training of one world model."""

    epochs: list[dict[str, float | list[float]]]  # numbers by name; the held-out criterion has one for each member
    criterion: str  # the held-out number that stops training
    best: list[float]  # its best value, by member
    elites: list[int]
    stopped: str  # early or limit
    termination: TerminationRecord
    start: dict[str, float | list[float]] | None = None  # held-out numbers of the weights that a fit continued from
