"""Bellman inconsistency: the disagreement between members of a world model about the value of the next state."""

import torch
from einops import rearrange
from torch import Generator, Tensor

from pipeline.protocols import Value, WorldModel
from pipeline.types import Prediction, Transitions


class Bellman:
    """Standard deviation over the elites of the mean value of next states sampled from each (MOBILE, Sun et al. 2023,
    Model-Bellman Inconsistency for Offline Model-based Policy Optimization). Epistemic: sampling averages out noise.

    A value is a sum of rewards, so the penalty is in units of reward. It is not multiplied by the logged reward's
    standard deviation, nor by 1 - discount. As in MOBILE, a learner subtracts its weight times this penalty from every
    target, so published weights apply. The probability of termination is ignored.

    The penalty depends on the current value function. A rollout without one has penalty zero, and nothing is stored.
    """

    kind = "epistemic"

    def __init__(self, samples: int = 10) -> None:
        """``samples`` is the number of next states sampled from each elite."""
        self.samples = samples

    def fit(self, logged: Transitions, generator: Generator) -> None:
        """Nothing to fit."""

    def __call__(
        self, model: WorldModel, state: Tensor, action: Tensor, prediction: Prediction, sample: Tensor
    ) -> Tensor:
        """Zeros "B": the penalty needs a value function."""
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
        """The penalty "B" of the step from ``state`` "B Z" by ``action`` "B A", in units of ``value``."""
        elites = len(model.elites)
        batch = len(state)
        copies = elites * self.samples
        # One call for all samples: rows run over elites, then samples, then the batch.
        member = model.elites.repeat_interleave(self.samples * batch)
        repeated = prediction.map(lambda x: torch.cat([x] * copies, dim=-2))
        step = model.draw(state.repeat(copies, 1), action.repeat(copies, 1), repeated, generator, member)
        mean = rearrange(value(step.state), "(e k b) -> e k b", e=elites, b=batch).mean(1)
        # All elites agree under a new critic. There a norm has a gradient, but a standard deviation has none.
        return torch.linalg.vector_norm(mean - mean.mean(0), dim=0) / elites**0.5
