"""Options of the recurrent state-space model."""

from typing import Annotated, Literal

from pydantic.dataclasses import dataclass

from pipeline.networks.distributions import HEADS
from pipeline.validation import OPTIONS, LearningRate, Members, NonNegativeFloat, OneOf, PositiveFloat, Units
from pipeline.world_models.recurrent_cells import RECURRENCES
from pipeline.world_models.termination import TERMINATIONS


@dataclass(frozen=True, config=OPTIONS)
class RSSMConfig:
    """Options of ``world_model.name: rssm``."""

    recurrence: Annotated[str, OneOf(RECURRENCES)] = "gru"  # recurrent cell; none: a stochastic state alone
    # kind of latent variables; point: a deterministic state alone
    latent: Literal["gaussian", "categorical", "point"] = "gaussian"
    deter: Units = 128  # units of the recurrence
    stoch: Units = 16  # number of stochastic latent variables
    classes: Units = 16  # classes of each categorical latent
    width: Units = 128  # units in every other hidden layer
    image_depth: Units = 16  # channels of the first convolution
    members: Members = 5  # number of prior heads
    reward: Annotated[str, OneOf(HEADS)] = "two_hot"  # distribution of rewards that is predicted
    # how imagined episodes end; known: by a hand-written rule (privileged knowledge); off: never
    termination: Annotated[str, OneOf(TERMINATIONS)] = "learned"
    vector_std: PositiveFloat = 0.05  # standard deviation of decoded vectors, normalized; low: they weigh more
    image_std: PositiveFloat = 0.1  # standard deviation of decoded pixels, as a share of full brightness
    free_nats: NonNegativeFloat = 1.0  # divergence of a step that is not penalized; a point latent has none
    dynamics_weight: NonNegativeFloat = 1.0  # weight of the divergence that trains the prior
    representation_weight: NonNegativeFloat = 0.1  # weight of the same divergence as it trains the posterior
    learning_rate: LearningRate = 1e-3  # learning rate of Adam
    gradient_clip: PositiveFloat = 100.0  # largest norm of all gradients together
