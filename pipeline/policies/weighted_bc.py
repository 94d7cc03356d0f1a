"""Behavior cloning of good episodes: it imitates logged actions, those of episodes that went well more often.

In logs of several policies it can beat learners that estimate values. Chen et al. 2021 (arXiv:2106.01345) show it for
cloning of the best tenth of the episodes; here every episode has a weight (Hong et al. 2023, arXiv:2306.13085).
"""

from pydantic.dataclasses import dataclass

from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.validation import OPTIONS, Flag, PositiveFloat


@dataclass(frozen=True, config=OPTIONS)
class WeightedBCConfig(BCConfig):
    """Options of behavior cloning of good episodes: block ``weighted_bc``, and ``policy.name: weighted_bc``."""

    # each logged step is drawn in proportion to exp(its episode's advantage / temperature), with advantages scaled to
    # [0, 1]; null: all alike
    return_temperature: PositiveFloat | None = 0.05
    decay: Flag = True  # whether the learning rate decays to zero along a cosine


class WeightedBC(BehaviorCloning):
    """Behavior cloning with the draws of ``return_temperature``."""

    Config = WeightedBCConfig
    config: WeightedBCConfig
