"""Penalties: how unsure a world model is of one imagined step."""

from pipeline.uncertainty.penalties import PENALTIES, Penalty, PenaltyConfig

__all__ = ["PENALTIES", "Penalty", "PenaltyConfig"]
