"""A recurrent state-space model (Hafner et al. 2019, arXiv:1811.04551; 2021, arXiv:2010.02193; 2023, arXiv:2301.04104)
whose prior is an ensemble of heads on one recurrence (Offline DreamerV2, Lu et al. 2022, arXiv:2206.04779).

The state "B C+D+X" is the deterministic carry, the stochastic latent, then the exogenous values of the present, which
the recurrence reads beside the action. Filtering takes the latent from the posterior,
which depends on the observation; imagination takes it from one prior head.
"""

from dataclasses import replace
from typing import Self

import torch
from torch import Generator, Tensor, nn

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.adam import LeanAdam
from pipeline.networks.distributions import HEADS, Head, zero_last_layer
from pipeline.networks.mlp import mlp, stacked_mlp
from pipeline.types import Beliefs, Observation, Prediction, Segments, Shard, Step, Transitions, of_members
from pipeline.world_models.best_weights import CheckpointGroup
from pipeline.world_models.latents import LATENTS, Latent
from pipeline.world_models.observation_model import Decoder, Encoder, Observations
from pipeline.world_models.posterior import FilteredWindow, PosteriorFilter
from pipeline.world_models.recurrent_cells import RECURRENCES, Recurrence
from pipeline.world_models.rssm_config import RSSMConfig
from pipeline.world_models.termination import (
    LearnedTermination,
    build_termination,
    continue_along,
    in_words,
    privileged,
)

LEAST_SPREAD = 0.1  # minimum standard deviation of a latent over the logs: bounds the penalty of constant latents


class RSSM(nn.Module):
    """The model: encoder, recurrence, posterior, prior heads, decoder, reward and termination."""

    Config = RSSMConfig
    stateful = recurrent = True
    num_bootstraps = 1
    decays_learning_rate = True  # decay helps the variances converge

    def __init__(self, config: RSSMConfig, data_spec: DataSpec) -> None:
        super().__init__()
        self.config = config
        self.data_spec = data_spec
        self.gradient_clip = config.gradient_clip
        self.action_dim = data_spec.action_dim
        self.reward_scale = data_spec.statistics.reward_std
        self.latent: Latent = LATENTS[config.latent](config.stoch, config.classes)
        self.observations = Observations(data_spec.obs_shapes, data_spec.statistics)
        self.encoder = Encoder(self.observations, config.width, config.image_depth)
        inputs = self.latent.dim + data_spec.action_dim + self.exogenous_dim
        self.recurrence: Recurrence = RECURRENCES[config.recurrence](inputs, config.deter, config.width)
        self.state_dim: int = self.recurrence.carry_dim + self.latent.dim + self.exogenous_dim
        self._build_heads(config)
        self.register_buffer("spread", torch.ones(self.latent.dim))
        self.spread: Tensor

    def _build_heads(self, c: RSSMConfig) -> None:
        features, params = self.recurrence.features_dim, self.latent.raw_dim
        self.posterior = mlp([features + self.encoder.embed_dim, c.width, params], nn.SiLU)
        self.prior = stacked_mlp(c.members, [features, c.width, params])
        self.decoder = Decoder(self.observations, self.state_dim, c.width, c.image_depth, c.vector_std, c.image_std)
        self.reward: Head = HEADS[c.reward]()
        self.reward_net = zero_last_layer(mlp([self.state_dim, c.width, self.reward.size], nn.SiLU))
        self.termination = build_termination(c.termination, self.data_spec, self.decoder)

    def termination_used(self) -> str:
        """How episodes end in imagination, in words for the report."""
        return in_words(self.termination, self.data_spec)

    def privileged_knowledge(self) -> list[str]:
        """Prior knowledge that was not learned from data."""
        return privileged(self.termination, self.data_spec)

    # --- the interface of a world model ---

    @property
    def elites(self) -> Tensor:
        """All prior heads "M": each one is trained on every batch."""
        return torch.arange(self.config.members, device=self.spread.device)

    def initial(self, batch: int) -> Tensor:
        """Zeros "B Z"."""
        return torch.zeros(batch, self.state_dim, device=self.spread.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The filtered state "B Z" after one step; the latent is the posterior's mode, so nothing is drawn."""
        kept = (1 - first)[:, None]
        carry, latent = self._split(state * kept)
        x = torch.cat([latent, action * kept, self.inputs(state * kept)], dim=-1)
        carry = self.recurrence(carry, x)
        params = self.posterior(torch.cat([self.recurrence.features(carry, x), self.encoder(obs)], dim=-1))
        return torch.cat([carry, self.latent.sample(params, None), self.observations.inputs(obs)], dim=-1)

    @property
    def exogenous_dim(self) -> int:
        """Number of exogenous features, X."""
        return self.observations.exogenous.size

    def inputs(self, state: Tensor) -> Tensor:
        """The exogenous values "... X" in states "... Z", normalized."""
        return state[..., self.state_dim - self.exogenous_dim :]

    def condition(
        self, state: Tensor, action: Tensor, prediction: Prediction, step: Step, inputs: Tensor
    ) -> tuple[Prediction, Step]:
        """Prediction and step once the exogenous values ``inputs`` "B X" after the step are known."""
        next_state = torch.cat([step.state[:, : self.state_dim - self.exogenous_dim], inputs], dim=-1)
        reward, continue_prob = self._outcome(state, action, next_state)
        return prediction, replace(step, state=next_state, reward=reward, continue_prob=continue_prob)

    def measured(self, batch: Transitions) -> None:
        """None: the latents that this model predicts are known at every step."""

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """State "B Z" and action "B A" -> every prior head's distribution "M B D" of the next latent."""
        carry, latent = self._split(state)
        x = torch.cat([latent, action, self.inputs(state)], dim=-1)
        carry = self.recurrence(carry, x)
        return self.latent.prediction(self._prior(self.recurrence.features(carry, x)), self.spread, carry)

    def draw(
        self,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        generator: Generator | None,
        member: Tensor | None = None,
    ) -> Step:
        """Sample the latent of each row "B" from head ``member`` "B", or from a random head. Without a generator, the
        latent is the mode of the heads' average and ``member`` is -1."""
        next_state, member, sample = self.move(state, action, prediction, generator, member)
        return Step(next_state, *self._outcome(state, action, next_state), member, sample)

    def move(
        self, state: Tensor, action: Tensor, prediction: Prediction, generator: Generator | None, member: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next state "B Z", the member and the sample of :meth:`draw`."""
        if generator is None:
            single = prediction.map(lambda x: x.mean(0, keepdim=True) if x.dim() == 3 else x)
            noise = None
            member = torch.full_like(state[:, 0], -1, dtype=torch.long)
        else:
            member = self.draw_members(len(state), generator) if member is None else member
            chosen = member
            single = prediction.map(lambda x: of_members(x, chosen)[None] if x.dim() == 3 else x)
            noise = self.latent.noise((len(state),), generator, state.device)
        sample = self.latent.draw(single, noise, self.spread)
        next_state = torch.cat([prediction.carry, sample * self.spread, self.inputs(state)], dim=-1)
        return next_state, member, sample

    def outcomes(self, states: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Reward and probability of going on, "B T", of the steps along ``states`` "B T+1 Z"."""
        reward = self.reward.decode(self.reward_net(states[:, 1:])) * self.reward_scale
        return reward, continue_along(self.termination, states, action)

    def _outcome(self, state: Tensor, action: Tensor, next_state: Tensor) -> tuple[Tensor, Tensor]:
        reward, continue_prob = self.outcomes(torch.stack([state, next_state], 1), action[:, None])
        return reward[:, 0], continue_prob[:, 0]

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One random head for each row, "B", int64."""
        return torch.randint(self.config.members, (batch,), generator=generator, device=self.spread.device)

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """This model: its heads are its members, and nothing is drawn."""
        return self

    def decode(self, state: Tensor) -> Observation:
        """The observations of states "B Z", in the environment's own units."""
        return self.decoder(state)

    def actor_encoder(self) -> Self:
        """This model: acting needs encoder, recurrence and posterior."""
        return self

    def targets(self, batch: Transitions) -> Tensor:
        """The posterior latents "B D" of the next states, in units of their standard deviation over the logs."""
        return self._split(batch.next_state)[1] / self.spread

    def _split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        carry, latent, _ = state.split([self.recurrence.carry_dim, self.latent.dim, self.exogenous_dim], dim=-1)
        return carry, latent

    def _prior(self, features: Tensor) -> Tensor:
        """Features "... F" -> parameters of every head "M ... R"."""
        flat = features.flatten(0, -2)
        return self.prior(flat.expand(self.config.members, *flat.shape)).unflatten(1, features.shape[:-1])

    @torch.no_grad()
    def beliefs(self, windows: Segments) -> Beliefs:
        """Posterior and prior at every frame of windows; latents are posterior modes, so nothing is drawn."""
        filtered = self.filter_window(windows, None)
        carry, latent = self._split(filtered.state)
        prior_params = self._prior(filtered.features)
        unscaled = torch.ones_like(self.spread)
        posterior = self.latent.prediction(filtered.posterior[None], unscaled, carry)
        prior = self.latent.prediction(prior_params, unscaled, carry)
        return Beliefs(
            state=filtered.state,
            mode=latent.unflatten(-1, (-1, self.latent.classes)),
            prior_variance=prior.std.square().mean(0).unflatten(-1, (-1, self.latent.classes)),
            kl=self.latent.kl(filtered.posterior.expand(prior_params.shape), prior_params).mean(0),
            posterior_entropy=posterior.entropy()[0],
            prior_entropy=prior.entropy().mean(0),
        )

    # --- training ---

    def filter_window(self, batch: Segments, noise: Tensor | None) -> FilteredWindow:
        """Filter windows from the initial state; ``noise`` "B T+1 D" for posterior samples, None for the mode."""
        inputs = self.observations.inputs(batch.obs)
        before = torch.cat([batch.action, inputs[:, :-1]], dim=-1)
        # No action precedes the first frame.
        before = torch.cat([torch.zeros_like(before[:, :1]), before], dim=1)
        run = PosteriorFilter(self.posterior, self.recurrence, self.latent)
        filtered = run(self.encoder(batch.obs), before, noise)
        return replace(filtered, state=torch.cat([filtered.state, inputs], dim=-1))

    def loss(
        self, batch: Segments, generator: Generator, shard: Shard | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative evidence lower bound of a step in nats, averaged over the batch, and its terms. Padding adds 0."""
        shard = shard or Shard()
        shape = (len(batch) * shard.ranks, batch.action.shape[1] + 1)
        # Drawn for all ranks together, so the result does not depend on their number.
        noise = shard.of(self.latent.noise(shape, generator, batch.action.device))
        terms = self._terms(batch, self.filter_window(batch, noise))
        means = {k: v.sum() / v.numel() for k, v in terms.items()}
        metrics = {k: v.detach() for k, v in means.items()}
        return self._bound(means), metrics | {"nll": self._bound(metrics)}

    def _bound(self, terms: dict[str, Tensor]) -> Tensor:
        c = self.config
        unweighted = sum(v for k, v in terms.items() if k not in ("dynamics_kl", "representation_kl"))
        return (
            unweighted + c.dynamics_weight * terms["dynamics_kl"] + c.representation_weight * terms["representation_kl"]
        )

    def _terms(self, batch: Segments, filtered: FilteredWindow) -> dict[str, Tensor]:
        """Every term of the loss for every frame "B T+1" or step "B T", zero where a window is padded."""
        frames = torch.cat([torch.ones_like(batch.valid[:, :1]), batch.valid], dim=1)
        prior = self._prior(filtered.features)  # "M B T+1 R"
        posterior = filtered.posterior  # "B T+1 R"
        free = self.config.free_nats if self.latent.random else 0.0
        reward = self.reward.loss(self.reward_net(filtered.state[:, 1:]), batch.reward / self.reward_scale)
        terms = {
            "reconstruction": self.decoder.loss(filtered.state, batch.obs) * frames,
            "reward": reward * batch.valid,
            "dynamics_kl": self.latent.kl(posterior.detach(), prior).clamp(min=free).mean(0) * frames,
            "representation_kl": self.latent.kl(posterior, prior.detach()).clamp(min=free).mean(0) * frames,
        }
        if isinstance(self.termination, LearnedTermination):
            obs = filtered.state if self.observations.images else self.observations.normalized(batch.obs)
            loss = self.termination.loss(obs[:, :-1], batch.action, obs[:, 1:], batch.terminal)
            terms["termination"] = loss * batch.valid
        return terms

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return LeanAdam(self.parameters(), lr=self.config.learning_rate, eps=1e-5)

    def checkpoint_groups(self) -> list[CheckpointGroup]:
        """One group for the whole model, because all heads share one recurrence."""
        return [CheckpointGroup.whole("nll", self)]

    @torch.no_grad()
    def held_out(self, batch: Segments) -> dict[str, Tensor]:
        """Sums of the loss terms over held-out windows, with posterior modes; ``count`` is the valid steps."""
        sums = {k: v.sum() for k, v in self._terms(batch, self.filter_window(batch, None)).items()}
        return sums | {"nll": self._bound(sums), "count": batch.valid.sum()}

    def validation_metrics(self, held_out: dict[str, Tensor]) -> dict[str, Tensor]:
        """The held-out means, unchanged."""
        return held_out

    def finalize(self, best: dict[str, Tensor], held_out: list[Segments], train: list[Segments]) -> None:
        """Measure the latents' standard deviation over the logs, and calibrate the termination head."""
        transitions = [self._transitions(batch) for batch in train]
        self.spread.copy_(self._split(Transitions.cat(transitions).next_state)[1].std(0).clamp(min=LEAST_SPREAD))
        if isinstance(self.termination, LearnedTermination):
            self.termination.calibrate([self._transitions(batch) for batch in held_out], transitions)

    def _transitions(self, batch: Segments) -> Transitions:
        """The valid steps of windows, as transitions between filtered states."""
        state = self.filter_window(batch, None).state
        valid = batch.valid.bool()
        before, after = state[:, :-1][valid], state[:, 1:][valid]
        return Transitions.from_log(before, batch.action[valid], batch.reward[valid], after, batch.terminal[valid])
