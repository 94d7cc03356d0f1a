"""Bayesian world models: one Gaussian network with a distribution over its weights; weight samples are its members.

A new or loaded model predicts with one fixed set of ``samples`` weight samples. ``sample_members`` gives a copy with a
new set, which imagination calls for every rollout.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from pipeline.encoders.statistics import DataSpec
from pipeline.seeding import generator as fresh_generator
from pipeline.types import Transitions
from pipeline.world_models.bayesian_layers import DropoutLinear, Layer, RandomNetwork, VariationalLinear
from pipeline.world_models.gaussian import GaussianConfig, GaussianModel


@dataclass(frozen=True)
class BayesianConfig(GaussianConfig):
    learning_rate: float = 3e-3
    samples: int = 7  # of the weights that predict side by side, as an ensemble's members do
    prior_scale: float = 1.0  # standard deviation of a weight's prior, times the root of its layer's inputs
    divergence_weight: float = 1.0  # 1: the evidence bound; less: a colder posterior (Wenzel et al., arXiv:2002.02405)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise ValueError(f"samples {self.samples} must be at least 1")
        if self.prior_scale <= 0 or self.divergence_weight < 0:
            raise ValueError(f"prior_scale {self.prior_scale} must be positive, divergence_weight not negative")


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


@dataclass(frozen=True)
class VariationalConfig(BayesianConfig):
    first_std: float = 0.05  # standard deviation of weights at the start, as a share of their prior's


class Variational(BayesianModel):
    """A variational posterior: every weight is an independent normal (Bayes by Backprop, Blundell et al. 2015,
    arXiv:1505.05424)."""

    Config = VariationalConfig

    def __init__(self, config: VariationalConfig, data_spec: DataSpec) -> None:
        c = config
        super().__init__(c, data_spec, lambda _, i, o: VariationalLinear(i, o, c.prior_scale, c.first_std))


@dataclass(frozen=True)
class DropoutConfig(BayesianConfig):
    dropout: float = 0.01  # probability that a hidden unit is left out; small networks need more

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} must lie between 0 and 1: without it all samples are the same")


class MCDropout(BayesianModel):
    """MC dropout: every weight sample is one dropout mask (Gal & Ghahramani 2016, arXiv:1506.02142)."""

    Config = DropoutConfig

    def __init__(self, config: DropoutConfig, data_spec: DataSpec) -> None:
        c = config
        super().__init__(c, data_spec, lambda n, i, o: DropoutLinear(i, o, c.prior_scale, c.dropout if n else 0.0))
