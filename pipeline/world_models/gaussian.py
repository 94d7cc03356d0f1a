"""Base of the Gaussian world models of vectors: sampling, likelihood, termination. The network is handed in."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.exogenous import Exogenous
from pipeline.encoders.history import HistoryEncoder, vector_encoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec
from pipeline.networks.adam import LeanAdam
from pipeline.networks.mlp import StackedLinear
from pipeline.types import Observation, Prediction, Shard, Step, Transitions, of_members
from pipeline.world_models.best_weights import CheckpointGroup
from pipeline.world_models.gaussian_config import GaussianConfig
from pipeline.world_models.gaussian_losses import mixture, row_weights, weighted
from pipeline.world_models.target_scaler import StepScale
from pipeline.world_models.termination import LearnedTermination, build_termination, in_words, privileged

BOUND_MARGIN = 0.05  # a log-variance closer to its bound than this share of the range counts as saturated


class Network(Protocol):
    """A torch module with "M" members, which predict, and "L" bootstraps: batches that one gradient step takes side
    by side. An ensemble has as many bootstraps as members; a network with random weights has one."""

    num_bootstraps: int  # L

    @property
    def members(self) -> int:
        """M, the number of weight sets that predict."""

    def modules(self) -> Iterator[nn.Module]:
        """All submodules."""

    def __call__(self, x: Tensor) -> Tensor:
        """Predictions of each member for its own batch: "M B X" -> "M B Y"."""

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """The forward pass in training: "L B X" -> "L B Y"."""

    def divergence(self) -> Tensor | None:
        """KL(posterior || prior) of random weights, in nats; None where weights are not random."""


class GaussianModel(nn.Module):
    """Every member predicts mean and variance of the normalized change of state and of the reward.

    The state is the normalized observation, and optionally a history (:mod:`pipeline.encoders.history`), which every
    observed or sampled step updates. Constant features and settings (:class:`~pipeline.encoders.statistics.Statistics`)
    are copied, exogenous ones are given (:meth:`condition`); they and the history are neither predicted nor penalized.

    A subclass adds its network, ``elite_members``, ``sample_members`` and ``finalize``, and overrides nothing.
    """

    config: GaussianConfig
    net: Network
    recurrent = False
    gradient_clip = None
    decays_learning_rate = False
    elite_members: Tensor

    def __init__(self, config: GaussianConfig, data_spec: DataSpec, network: Callable[[list[int]], Network]) -> None:
        """``network`` builds a network with layers of the given sizes."""
        super().__init__()
        statistics = data_spec.statistics
        self.config = config
        self.data_spec = data_spec
        self.encoder = vector_encoder(config.history, data_spec.obs_shapes, statistics, data_spec.action_dim)
        self.state_dim = self.encoder.state_dim
        self.action_dim = data_spec.action_dim
        self.stateful = config.history > 0
        self.reward_scale = statistics.reward_std
        self.exogenous = Exogenous(statistics)
        self.scale = StepScale(statistics, config.clamp_margin)
        outputs = len(statistics.changing) + 1
        self.net = network([self.state_dim + self.action_dim, *[config.width] * config.depth, 2 * outputs])
        self.low = nn.Parameter(torch.full((self.net.num_bootstraps, 1, outputs), config.log_variance_low))
        self.high = nn.Parameter(torch.full((self.net.num_bootstraps, 1, outputs), config.log_variance_high))
        self.termination = build_termination(config.termination, data_spec, self.encoder)

    @property
    def elites(self) -> Tensor:
        """Indices "E" of the members that are sampled, int64."""
        # A property, because from Python 3.12 on a Protocol does not see buffers.
        return self.elite_members

    @property
    def num_bootstraps(self) -> int:
        """Number of batches "L" that one gradient step takes side by side."""
        return self.net.num_bootstraps

    def termination_used(self) -> str:
        """How episodes end in imagination, in words for the report."""
        return in_words(self.termination, self.data_spec)

    def privileged_knowledge(self) -> list[str]:
        """Prior knowledge that was not learned from data."""
        return privileged(self.termination, self.data_spec)

    # --- the interface of a world model ---

    def initial(self, batch: int) -> Tensor:
        """The state "B Z" before the first observation."""
        return self.encoder.initial(batch)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The encoder's state "B Z" after one observed step."""
        return self.encoder.observe(state, action, obs, first)

    def decode(self, state: Tensor) -> Observation:
        """The observations of states "B Z", in the environment's own units."""
        return self.encoder.decode(state)

    def actor_encoder(self) -> StandardEncoder | HistoryEncoder:
        """The encoder: an agent needs nothing else of this model."""
        return self.encoder

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """State "B Z" and action "B A", or a batch for each member "M B ..." -> mean and std "M B D"."""
        mean, log_variance = self._member_moments(torch.cat([state, action], dim=-1))
        return Prediction(mean, torch.exp(0.5 * log_variance), state.new_empty(mean.shape[1], 0))

    def draw(
        self,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        generator: Generator | None,
        member: Tensor | None = None,
    ) -> Step:
        """Sample one step for each row "B" from ``member`` "B", or from a random elite. Without a generator, the step
        is the mean over the elites and its ``member`` is -1."""
        if generator is None:
            target = prediction.mean.index_select(0, self.elites).mean(0)
            member = torch.full_like(state[:, 0], -1, dtype=torch.long)
        else:
            member = self.draw_members(len(state), generator) if member is None else member
            mean, std = of_members(prediction.mean, member), of_members(prediction.std, member)
            target = mean + std * torch.randn(mean.shape, generator=generator, device=mean.device)
        next_obs, reward = self.scale.advance(self.encoder.current_obs(state), target)
        next_state = self.encoder.advance(state, action, next_obs)
        return Step(next_state, reward, self.termination.continue_prob(state, action, next_state), member, target)

    @property
    def exogenous_dim(self) -> int:
        """Number of exogenous features, X."""
        return self.exogenous.size

    def inputs(self, state: Tensor) -> Tensor:
        """The exogenous values "... X" in states "... Z", normalized."""
        return self.encoder.current_obs(state)[..., self.exogenous.index]

    def condition(
        self, state: Tensor, action: Tensor, prediction: Prediction, step: Step, inputs: Tensor
    ) -> tuple[Prediction, Step]:
        """Prediction and step once the exogenous values ``inputs`` "B X" after the step are known.

        Where a flag says that a feature is not measured, its value is held, and every member is certain of that.
        """
        current = self.exogenous.replace(self.encoder.current_obs(step.state), inputs)
        if self.exogenous.flags:
            measured = self.exogenous.measured(inputs).bool()
            held = self.exogenous.replace(self.encoder.current_obs(state), inputs)
            current = torch.where(measured, current, held)
            prediction, step = self._held(prediction, step, self._outputs(measured))
        next_state = self.encoder.advance(state, action, current)
        continue_prob = self.termination.continue_prob(state, action, next_state)
        return prediction, replace(step, state=next_state, continue_prob=continue_prob)

    def _held(self, prediction: Prediction, step: Step, measured: Tensor) -> tuple[Prediction, Step]:
        """Prediction and step where outputs that are not ``measured`` "B D" stay as they are."""
        unchanged = -self.scale.target_mean / self.scale.target_std
        mean = torch.where(measured, prediction.mean, unchanged)
        std = torch.where(measured, prediction.std, math.exp(0.5 * self.config.log_variance_low))
        sample = torch.where(measured, step.sample, unchanged)
        return replace(prediction, mean=mean, std=std), replace(step, sample=sample)

    def _outputs(self, features: Tensor) -> Tensor:
        """Flags of the outputs "... D" from flags of the features "... O": of the changing ones, then of the reward."""
        return torch.cat([features[..., self.scale.changing], torch.ones_like(features[..., :1])], dim=-1)

    def measured(self, batch: Transitions) -> Tensor | None:
        """Where the targets were measured, 1.0 or 0.0, "... B D"; None if all were."""
        if not self.exogenous.flags:
            return None
        return self._outputs(self.exogenous.measured(self.inputs(batch.next_state)))

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One random elite for each row, "B", int64."""
        index = torch.randint(len(self.elites), (batch,), generator=generator, device=self.elites.device)
        return self.elites[index]

    def _member_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's mean and log-variance "M B D" for inputs "B X" or "M B X"."""
        return self._moments(self.net(x if x.dim() == 3 else x.expand(self.net.members, *x.shape)))

    def _moments(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance "... D" from the network's outputs "... 2D"."""
        mean, log_variance = outputs.float().chunk(2, dim=-1)
        # As in PETS, two softplus terms keep the log-variance between learned bounds, with a gradient everywhere.
        bounded_above = self.high - F.softplus(self.high - log_variance)
        return mean, self.low + F.softplus(bounded_above - self.low)

    # --- training ---

    def targets(self, batch: Transitions) -> Tensor:
        """Normalized change of the changing state dimensions, then the reward: "... B D"."""
        return self.scale.targets(batch)

    def loss(
        self, batch: Transitions, generator: Generator | None = None, shard: Shard | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch for each bootstrap ("L B ..." fields), and its metrics.

        The loss is twice the Gaussian negative log-likelihood in nats, averaged over outputs and rows and summed over
        bootstraps, plus the term for the variance bounds. Random weights add their divergence, which makes it the
        negative evidence lower bound. A learned termination head adds its own loss.
        """
        inputs = torch.cat([batch.state, batch.action], dim=-1)
        mean, log_variance = self._moments(self.net.learn(inputs, generator, shard or Shard()))
        weight = row_weights(self.measured(batch))
        error = (mean - self.targets(batch)).square() * weight
        nll = error * torch.exp(-log_variance) + log_variance * weight
        metrics = {"nll": 0.5 * nll.detach().mean((1, 2)).sum() / len(mean), "mse": error.detach().mean()}
        nll = weighted(nll, log_variance, self.config.beta).mean((1, 2)).sum()
        bounds = self.config.bound_weight * (self.high - self.low).mean((1, 2)).sum()
        loss = nll + bounds
        if (divergence := self.net.divergence()) is not None:
            kl = divergence / (self.data_spec.transitions * mean.shape[-1])  # for each predicted number
            loss = loss + 2 * kl
            metrics["kl"] = kl.detach()
        if isinstance(self.termination, LearnedTermination):
            termination_loss = self._termination_loss(batch, self.termination).mean()
            loss = loss + termination_loss
            metrics["termination_loss"] = termination_loss.detach()
        return loss, metrics

    def _termination_loss(self, batch: Transitions, head: LearnedTermination) -> Tensor:
        return head.loss(
            head.current_obs(batch.state), batch.action, head.current_obs(batch.next_state), batch.terminal
        )

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam with each layer's own weight decay, as an L2 term in the gradient."""
        layers = [m for m in self.net.modules() if isinstance(m, StackedLinear)]
        groups = [{"params": [m.weight], "weight_decay": m.weight_decay} for m in layers]
        decayed = {id(m.weight) for m in layers}
        groups.append({"params": [p for p in self.parameters() if id(p) not in decayed], "weight_decay": 0.0})
        return LeanAdam(groups, lr=self.config.learning_rate)

    def checkpoint_groups(self) -> list[CheckpointGroup]:
        """Each bootstrap keeps the weights of its own lowest error, the termination head those of its lowest loss."""
        stacked = {k: p for k, p in self.named_parameters() if not k.startswith("termination.")}
        groups = [CheckpointGroup(self.config.criterion, self.num_bootstraps, stacked)]
        if isinstance(self.termination, LearnedTermination):
            groups.append(CheckpointGroup.whole("termination_loss", self.termination))
        return groups

    @torch.no_grad()
    def held_out(self, batch: Transitions) -> dict[str, Tensor]:
        """Sums over one held-out batch ("B ..." fields), to be added up and divided by ``count``.

        For each bootstrap: squared error "L", by output "L D", and negative log-likelihood "L" in nats, up to a
        constant.
        Over all: the share of log-variances that are saturated at either bound, and the termination loss. Members that
        share a bootstrap are evaluated as one Gaussian with the moments of their mixture.
        """
        mean, log_variance = self._member_moments(torch.cat([batch.state, batch.action], dim=-1))
        margin = BOUND_MARGIN * (self.high - self.low)
        sums = {
            "low_share": (log_variance < self.low + margin).float().mean((0, 2)).sum(),
            "high_share": (log_variance > self.high - margin).float().mean((0, 2)).sum(),
            "count": torch.tensor(float(len(batch)), device=mean.device),
        }
        if self.num_bootstraps < len(mean):
            mean, log_variance = mixture(mean, log_variance)
        weight = row_weights(self.measured(batch))
        error = (mean - self.targets(batch)).square() * weight
        sums |= {"mse": error.mean(-1).sum(1), "output_mse": error.sum(1)}
        sums["nll"] = 0.5 * (error * torch.exp(-log_variance) + log_variance * weight).mean(-1).sum(1)
        if isinstance(self.termination, LearnedTermination):
            sums["termination_loss"] = self._termination_loss(batch, self.termination).mean() * len(batch)
        return sums

    def validation_metrics(self, held_out: dict[str, Tensor]) -> dict[str, Tensor]:
        """The held-out means; the errors "L D" of single outputs are replaced by their geometric mean "L"."""
        outputs = held_out.pop("output_mse")
        return held_out | {"geometric_mse": outputs.log().mean(-1).exp()}

    def calibrate(self, held_out: list[Transitions], train: list[Transitions]) -> None:
        """Set the decision threshold of a learned termination head."""
        if isinstance(self.termination, LearnedTermination):
            self.termination.calibrate(held_out, train)
