"""Options that all Gaussian world models of vectors share."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.encoders.history import History
from pipeline.validation import (
    OPTIONS,
    Float,
    Fraction,
    Layers,
    LearningRate,
    NonNegativeFloat,
    OneOf,
    Units,
)
from pipeline.world_models.termination import TERMINATIONS

LogVariance = Annotated[Float, Field(ge=-50, le=50)]


@dataclass(frozen=True, config=OPTIONS)
class GaussianConfig:
    """Options that all Gaussian world models of vectors share."""

    width: Units = 128  # units in each hidden layer
    depth: Layers = 3  # number of hidden layers
    learning_rate: LearningRate = 1e-3  # learning rate of Adam
    log_variance_low: LogVariance = -14.0  # initial lower bound of log-variances; -14: 0.1 % of a target's spread
    log_variance_high: LogVariance = 1.0  # initial upper bound of log-variances
    bound_weight: NonNegativeFloat = 0.01  # weight of the loss that pulls the learned bounds together
    beta: Fraction = 0.0  # exponent of the beta-NLL loss; 0: the likelihood; above 0 low-variance outputs dominate less
    # held-out error that selects weights and elites; geometric_mse: noisy outputs do not dominate it
    criterion: Literal["mse", "geometric_mse"] = "mse"
    # how imagined episodes end; known: by a hand-written rule (privileged knowledge); off: never
    termination: Annotated[str, OneOf(TERMINATIONS)] = "learned"
    clamp_margin: NonNegativeFloat = 0.1  # drawn states stay within the logged range widened by this share
    # past steps in the state, for delays and partially observed tasks
    history: History = 0

    @model_validator(mode="after")
    def _variances_are_ordered(self) -> Self:
        if self.log_variance_low >= self.log_variance_high:
            low, high = self.log_variance_low, self.log_variance_high
            raise ValueError(f"log_variance_low {low} must be below log_variance_high {high}")
        return self
