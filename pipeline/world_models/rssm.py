"""A recurrent state-space model (Hafner et al. 2019, arXiv:1811.04551; 2021, arXiv:2010.02193; 2023, arXiv:2301.04104)
whose prior is an ensemble of heads on one recurrence (Offline DreamerV2, Lu et al. 2022, arXiv:2206.04779).

The state is what is carried deterministically, then the stochastic latent: "B C+D". Filtering takes the latent from the
posterior, which sees the observation; imagination takes it from the prior of one head.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.distributions import HEADS, zero_last_layer
from pipeline.networks.mlp import mlp, stacked_mlp
from pipeline.types import Beliefs, Observation, Prediction, Segments, Shard, Step, Transitions
from pipeline.world_models.best_weights import CheckpointGroup
from pipeline.world_models.latents import CategoricalLatent, GaussianLatent, Latent, PointLatent
from pipeline.world_models.observation_model import Decoder, Encoder, Observations
from pipeline.world_models.recurrent_cells import RECURRENCES
from pipeline.world_models.termination import TERMINATIONS, LearnedTermination, build_termination, in_words, privileged

LEAST_SPREAD = 0.1  # of a latent over the logs: one that never varies must not blow up the penalty


@dataclass(frozen=True)
class RSSMConfig:
    recurrence: str = "gru"  # gru | lstm | none (a stochastic state alone)
    latent: str = "gaussian"  # gaussian | categorical | point (a deterministic state alone)
    deter: int = 128  # width of the recurrence
    stoch: int = 16  # stochastic latents
    classes: int = 16  # of each categorical latent
    width: int = 128  # of every other hidden layer
    image_depth: int = 16  # channels of the first convolution
    members: int = 5  # prior heads
    reward: str = "two_hot"  # two_hot | unit_gaussian
    termination: str = "learned"  # learned | known (privileged: a hand-written rule) | off
    vector_std: float = 0.05  # expected error of a normalized vector observation: the less, the more it counts
    image_std: float = 0.1  # the same for pixels, as a share of full brightness
    free_nats: float = 1.0  # divergence of a step that costs nothing; a point latent has none
    dynamics_weight: float = 1.0  # of the divergence that trains the prior
    representation_weight: float = 0.1  # of the same divergence as it trains the posterior
    learning_rate: float = 1e-3
    gradient_clip: float = 100.0  # largest norm of all gradients together

    def __post_init__(self) -> None:
        known: dict[str, Collection[str]] = {
            "recurrence": RECURRENCES,
            "latent": LATENTS,
            "reward": HEADS,
            "termination": TERMINATIONS,
        }
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} `{getattr(self, name)}` must be one of {', '.join(choices)}")
        if min(self.deter, self.stoch, self.classes, self.width, self.image_depth, self.members) < 1:
            raise ValueError("deter, stoch, classes, width, image_depth and members must be at least 1")


LATENTS: dict[str, Callable[[RSSMConfig], Latent]] = {
    "gaussian": lambda c: GaussianLatent(c.stoch),
    "categorical": lambda c: CategoricalLatent(c.stoch, c.classes),
    "point": lambda c: PointLatent(c.stoch),
}


@dataclass(frozen=True)
class Filtered:
    """A window as the posterior saw it; every field runs over the window's frames "T+1"."""

    state: Tensor  # "B T+1 Z"
    features: Tensor  # "B T+1 F", what the recurrence shows the prior heads
    posterior: Tensor  # "B T+1 R"


class RSSM(nn.Module):
    """Encoder, recurrence, posterior, prior heads, decoder, reward and termination."""

    Config = RSSMConfig
    stateful = recurrent = True
    num_bootstraps = 1
    decays_learning_rate = True  # what is learned last is precision

    def __init__(self, config: RSSMConfig, facts: DataSpec) -> None:
        super().__init__()
        self.config, self.data_spec, self.gradient_clip = config, facts, config.gradient_clip
        self.action_dim, self.reward_scale = facts.action_dim, facts.statistics.reward_std
        self.latent: Latent = LATENTS[config.latent](config)
        self.observations = Observations(facts.obs_shapes, facts.statistics)
        self.encoder = Encoder(self.observations, config.width, config.image_depth)
        inputs = self.latent.dim + facts.action_dim
        self.recurrence: Any = RECURRENCES[config.recurrence](inputs, config.deter, config.width)
        self.state_dim: int = self.recurrence.carry_dim + self.latent.dim
        self._build_heads(config)
        self.register_buffer("spread", torch.ones(self.latent.dim))
        self.spread: Tensor

    def _build_heads(self, c: RSSMConfig) -> None:
        shown, raw = self.recurrence.features_dim, self.latent.raw_dim
        self.posterior = mlp([shown + self.encoder.embed_dim, c.width, raw], nn.SiLU)
        self.prior = stacked_mlp(c.members, [shown, c.width, raw])
        self.decoder = Decoder(self.observations, self.state_dim, c.width, c.image_depth, c.vector_std, c.image_std)
        self.reward: Any = HEADS[c.reward]()
        self.reward_net = zero_last_layer(mlp([self.state_dim, c.width, self.reward.size], nn.SiLU))
        self.termination = build_termination(c.termination, self.data_spec, self.decoder)

    def termination_used(self) -> str:
        """In words, for the report."""
        return in_words(self.termination, self.data_spec)

    def privileged_knowledge(self) -> list[str]:
        """What this model was told rather than taught."""
        return privileged(self.termination, self.data_spec)

    # --- the interface of a world model ---

    @property
    def elites(self) -> Tensor:
        """All heads are drawn from: every one sees every batch."""
        return torch.arange(self.config.members, device=self.spread.device)

    def initial(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.state_dim, device=self.spread.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """One step of filtering; the latent is the posterior's mode, so nothing is drawn."""
        carry, latent = self._split(state * (1 - first)[:, None])
        x = torch.cat([latent, action * (1 - first)[:, None]], dim=-1)
        carry = self.recurrence(carry, x)
        raw = self.posterior(torch.cat([self.recurrence.features(carry, x), self.encoder(obs)], dim=-1))
        return torch.cat([carry, self.latent.sample(raw, None)], dim=-1)

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """State "B Z" and action "B A" -> what every prior head believes of the next latent, "M B D"."""
        carry, latent = self._split(state)
        x = torch.cat([latent, action], dim=-1)
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
        """A latent from one head for each row; without a generator, the mode of the heads' mean."""
        rows = torch.arange(len(state), device=state.device)
        if generator is None:
            believed, noise = prediction.map(lambda x: x.mean(0, keepdim=True) if x.dim() == 3 else x), None
            member = torch.full_like(rows, -1)
        else:
            member = self.draw_members(len(state), generator) if member is None else member
            believed = prediction.map(lambda x: x[member, rows][None] if x.dim() == 3 else x)
            noise = self.latent.noise((len(state),), generator, state.device)
        sample = self.latent.draw(believed, noise, self.spread)
        next_state = torch.cat([prediction.carry, sample * self.spread], dim=-1)
        going_on = self.termination.continue_prob(state, action, next_state)
        return Step(next_state, self._reward(next_state), going_on, member, sample)

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One head for each row, "B"."""
        return torch.randint(self.config.members, (batch,), generator=generator, device=self.spread.device)

    def sample_members(self, generator: Generator, count: int | None = None) -> Self:
        """The heads are their own set of samples; nothing is drawn."""
        return self

    def decode(self, state: Tensor) -> Observation:
        return self.decoder(state)  # type: ignore[no-any-return]

    def actor_encoder(self) -> Self:
        """All of it: acting needs the recurrence."""
        return self

    def targets(self, batch: Transitions) -> Tensor:
        """The next latent as the posterior saw it, "B D", in units of its spread over the logs."""
        return self._split(batch.next_state)[1] / self.spread

    def _split(self, state: Tensor) -> tuple[Tensor, Tensor]:
        return state[..., : self.recurrence.carry_dim], state[..., self.recurrence.carry_dim :]

    def _prior(self, features: Tensor) -> Tensor:
        """Features "... F" -> raw "M ... R"."""
        flat = features.flatten(0, -2)
        return self.prior(flat.expand(self.config.members, *flat.shape)).unflatten(1, features.shape[:-1])  # type: ignore[no-any-return]

    def _reward(self, state: Tensor) -> Tensor:
        return self.reward.decode(self.reward_net(state)) * self.reward_scale  # type: ignore[no-any-return]

    @torch.no_grad()
    def beliefs(self, windows: Segments) -> Beliefs:
        """What the posterior, and the prior heads before it, believe at every frame of windows; nothing is drawn."""
        seen = self.filter_window(windows, None)
        carry, latent = self._split(seen.state)
        raw, unscaled = self._prior(seen.features), torch.ones_like(self.spread)
        posterior, prior = (self.latent.prediction(x, unscaled, carry) for x in (seen.posterior[None], raw))
        return Beliefs(
            state=seen.state,
            mode=latent.unflatten(-1, (-1, self.latent.classes)),
            prior_variance=prior.std.square().mean(0).unflatten(-1, (-1, self.latent.classes)),
            kl=self.latent.kl(seen.posterior.expand(raw.shape), raw).mean(0),
            posterior_entropy=posterior.entropy()[0],
            prior_entropy=prior.entropy().mean(0),
        )

    # --- how it learns ---

    def filter_window(self, batch: Segments, noise: Tensor | None) -> Filtered:
        """The posterior through a window from an empty memory; ``noise`` "B T+1 D", or None for the mode."""
        first: Any = self.posterior[0]
        rest = self.posterior[1:]
        of_features, of_embedding = first.weight.split([self.recurrence.features_dim, self.encoder.embed_dim], dim=1)
        # What the posterior makes of observations does not wait for the recurrence: one product for the whole window.
        seen = F.linear(self.encoder(batch.obs), of_embedding, first.bias)
        # The first frame follows no known action.
        action = torch.cat([torch.zeros_like(batch.action[:, :1]), batch.action], dim=1)
        noises = [None] * action.shape[1] if noise is None else noise.unbind(1)
        carry, latent = self._split(self.initial(len(action)))
        rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        # Unbound, because the gradient of each indexed step would be as large as the window.
        for action_t, seen_t, noise_t in zip(action.unbind(1), seen.unbind(1), noises, strict=True):
            x = torch.cat([latent, action_t], dim=-1)
            carry = self.recurrence(carry, x)
            features = self.recurrence.features(carry, x)
            raw = rest(torch.addmm(seen_t, features, of_features.T))
            latent = self.latent.sample(raw, noise_t)
            rows.append((carry, latent, features, raw))
        carries, latents, features, raw = (torch.stack(x, 1) for x in zip(*rows, strict=True))
        return Filtered(torch.cat([carries, latents], dim=-1), features, raw)

    def loss(
        self, batch: Segments, generator: Generator, shard: Shard | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative evidence bound of a step, averaged over all steps of the batch; padding counts as zero."""
        shard = shard or Shard()
        shape = (len(batch) * shard.ranks, batch.action.shape[1] + 1)
        # Drawn for all ranks together, so that the number of ranks does not change what is learned.
        noise = shard.of(self.latent.noise(shape, generator, batch.action.device))
        terms = self._terms(batch, self.filter_window(batch, noise))
        means = {k: v.sum() / v.numel() for k, v in terms.items()}
        metrics = {k: v.detach() for k, v in means.items()}
        return self._bound(means), metrics | {"nll": self._bound(metrics)}

    def _bound(self, terms: dict[str, Tensor]) -> Tensor:
        c = self.config
        plain = sum(v for k, v in terms.items() if k not in ("dynamics_kl", "representation_kl"))
        return plain + c.dynamics_weight * terms["dynamics_kl"] + c.representation_weight * terms["representation_kl"]

    def _terms(self, batch: Segments, seen: Filtered) -> dict[str, Tensor]:
        """Every term of the loss for every frame or step, zero where a window is padded."""
        frames = torch.cat([torch.ones_like(batch.valid[:, :1]), batch.valid], dim=1)
        prior, posterior = self._prior(seen.features), seen.posterior  # "M B T+1 R" and "B T+1 R"
        free = self.config.free_nats if self.latent.random else 0.0
        reward = self.reward.loss(self.reward_net(seen.state[:, 1:]), batch.reward / self.reward_scale)
        terms = {
            "reconstruction": self.decoder.loss(seen.state, batch.obs) * frames,
            "reward": reward * batch.valid,
            "dynamics_kl": self.latent.kl(posterior.detach(), prior).clamp(min=free).mean(0) * frames,
            "representation_kl": self.latent.kl(posterior, prior.detach()).clamp(min=free).mean(0) * frames,
        }
        if isinstance(self.termination, LearnedTermination):
            told = seen.state if self.observations.images else self.observations.normalized(batch.obs)
            ends = self.termination.loss(told[:, :-1], batch.action, told[:, 1:], batch.terminal)
            terms["termination"] = ends * batch.valid
        return terms

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.config.learning_rate, eps=1e-5, fused=True)

    def checkpoint_groups(self) -> list[CheckpointGroup]:
        """One part: heads on a shared recurrence cannot be kept apart."""
        return [CheckpointGroup.whole("nll", self)]

    @torch.no_grad()
    def held_out(self, batch: Segments) -> dict[str, Tensor]:
        """Sums over held-out windows, to be divided by ``count``, the valid steps in them. The latent is the mode."""
        sums = {k: v.sum() for k, v in self._terms(batch, self.filter_window(batch, None)).items()}
        return sums | {"nll": self._bound(sums), "count": batch.valid.sum()}

    def validation_metrics(self, held_out: dict[str, Tensor]) -> dict[str, Tensor]:
        """Held-out means, as they are."""
        return held_out

    def finalize(self, best: dict[str, Tensor], held_out: list[Segments], train: list[Segments]) -> None:
        """Measure the latents' spread over the logs and calibrate the termination head, with the best weights back."""
        seen = [self._transitions(batch) for batch in train]
        self.spread.copy_(self._split(Transitions.cat(seen).next_state)[1].std(0).clamp(min=LEAST_SPREAD))
        if isinstance(self.termination, LearnedTermination):
            self.termination.calibrate([self._transitions(batch) for batch in held_out], seen)

    def _transitions(self, batch: Segments) -> Transitions:
        """The valid steps of windows between filtered states."""
        state, valid = self.filter_window(batch, None).state, batch.valid.bool()
        before, after = state[:, :-1][valid], state[:, 1:][valid]
        return Transitions.from_log(before, batch.action[valid], batch.reward[valid], after, batch.terminal[valid])
