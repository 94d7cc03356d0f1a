"""Bayesian world models: one Gaussian network with a distribution over its weights; weight samples are its members.

A new or loaded model predicts with one fixed set of ``samples`` weight samples. ``sample_members`` gives a copy with a
new set, which imagination calls for every rollout.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Self

import torch
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor

from pipeline.encoders.statistics import DataSpec
from pipeline.seeding import generator as fresh_generator
from pipeline.types import Transitions
from pipeline.validation import OPTIONS, LearningRate, Members, NonNegativeFloat, OpenFraction, PositiveFloat
from pipeline.world_models.bayesian_layers import DropoutLinear, Layer, RandomNetwork, VariationalLinear
from pipeline.world_models.gaussian import GaussianModel
from pipeline.world_models.gaussian_config import GaussianConfig


@dataclass(frozen=True, config=OPTIONS)
class BayesianConfig(GaussianConfig):
    """Options that both Bayesian world models share."""

    learning_rate: LearningRate = 3e-3  # learning rate of Adam
    samples: Members = 7  # weight samples that predict side by side, like the members of an ensemble
    prior_scale: PositiveFloat = 1.0  # standard deviation of a weight's prior, times the root of its layer's inputs
    divergence_weight: NonNegativeFloat = 1.0  # 1: the evidence bound; below: a colder posterior (arXiv:2002.02405)


class BayesianModel(GaussianModel):
    """Base of the Bayesian models. One posterior is trained on all data, and all of its samples are elites."""

    config: BayesianConfig
    net: RandomNetwork
    decays_learning_rate = True  # decay helps the variances converge

    def __init__(self, config: BayesianConfig, data_spec: DataSpec, layer: Callable[[int, int, int], Layer]) -> None:
        """``layer`` builds a layer from its index, number of inputs and number of outputs."""
        super().__init__(config, data_spec, lambda sizes: _network(config, sizes, layer))
        self._fix(fresh_generator(0, "world_model", "samples"), config.samples)

    def _fix(self, generator: Generator, count: int) -> None:
        self.net.fix(generator, count)
        self.register_buffer("elite_members", torch.arange(count, device=self.low.device), persistent=False)

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """A copy with ``count`` new weight samples (None: ``config.samples``). It shares the trained parameters."""
        shared = {id(x): x for x in (self.config, self.data_spec, self.data_spec.statistics, *self.parameters())}
        sampled = copy.deepcopy(self, shared)
        sampled._fix(generator, self.config.samples if count is None else count)
        return sampled

    def finalize(self, best: dict[str, Tensor], held_out: list[Transitions], train: list[Transitions]) -> None:
        """Calibrate the termination head with the best weights."""
        self.calibrate(held_out, train)


def _network(config: BayesianConfig, sizes: list[int], layer: Callable[[int, int, int], Layer]) -> RandomNetwork:
    layers = [layer(i, inputs, outputs) for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes))]
    return RandomNetwork(layers, config.divergence_weight)


@dataclass(frozen=True, config=OPTIONS)
class VariationalConfig(BayesianConfig):
    """Options of ``world_model.name: variational``."""

    first_std: PositiveFloat = 0.05  # initial standard deviation of weights, as a share of their prior's


class Variational(BayesianModel):
    """A variational posterior: every weight is an independent normal (Bayes by Backprop, Blundell et al. 2015,
    arXiv:1505.05424)."""

    Config = VariationalConfig

    def __init__(self, config: VariationalConfig, data_spec: DataSpec) -> None:
        c = config
        super().__init__(c, data_spec, lambda _, i, o: VariationalLinear(i, o, c.prior_scale, c.first_std))


@dataclass(frozen=True, config=OPTIONS)
class DropoutConfig(BayesianConfig):
    """Options of ``world_model.name: mc_dropout``."""

    dropout: OpenFraction = 0.01  # probability that a hidden unit is dropped; small networks need more


class MCDropout(BayesianModel):
    """MC dropout: every weight sample is one dropout mask (Gal & Ghahramani 2016, arXiv:1506.02142)."""

    Config = DropoutConfig

    def __init__(self, config: DropoutConfig, data_spec: DataSpec) -> None:
        c = config
        super().__init__(c, data_spec, lambda n, i, o: DropoutLinear(i, o, c.prior_scale, c.dropout if n else 0.0))
