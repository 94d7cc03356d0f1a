"""Bellman inconsistency: how far the members of a world model disagree about the value of what comes next."""

import torch
from einops import rearrange
from torch import Generator, Tensor

from pipeline.protocols import Value, WorldModel
from pipeline.types import Prediction, Transitions


class Bellman:
    """Standard deviation over the elites of the mean value of next states drawn from each (MOBILE, Sun et al. 2023,
    Model-Bellman Inconsistency for Offline Model-based Policy Optimization). Epistemic: noise is averaged out.

    A value is a sum of rewards, so the penalty is in their unit without a scale of its own: it is not multiplied by the
    logged reward's standard deviation, nor by 1 - discount. What a learner subtracts is then, as in MOBILE, its weight
    times this spread in every target, so published weights carry over. That an episode may end is left out.

    It is known as long as the value is: a rollout without one carries zero, and nothing is stored.
    """

    kind = "epistemic"

    def __init__(self, samples: int = 10) -> None:
        """``samples``: next states drawn from each elite."""
        self.samples = samples

    def fit(self, logged: Transitions, generator: Generator) -> None:
        pass

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        return torch.zeros_like(state[:, 0])

    def penalty_under_value(
        self,
        model: WorldModel,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        value: Value,
        generator: Generator,
    ) -> Tensor:
        elites, batch = len(model.elites), len(state)
        copies = elites * self.samples
        # All draws in one call: rows run over elites, then samples, then the batch.
        member = model.elites.repeat_interleave(self.samples * batch)
        believed = prediction.map(lambda x: torch.cat([x] * copies, dim=-2))
        step = model.draw(state.repeat(copies, 1), action.repeat(copies, 1), believed, generator, member)
        mean = rearrange(value(step.state), "(e k b) -> e k b", e=elites, b=batch).mean(1)
        # A norm has a gradient where all elites agree, as they do about a new critic; a standard deviation has none.
        return torch.linalg.vector_norm(mean - mean.mean(0), dim=0) / elites**0.5
