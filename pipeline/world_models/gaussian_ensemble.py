"""A probabilistic ensemble of Gaussian networks (PETS, Chua et al. 2018; as used by MOPO, Yu et al. 2020)."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.networks import StackedLinear, stacked_mlp
from pipeline.standardise import Facts, StandardEncoder, Statistics
from pipeline.types import Observation, Prediction, Shard, Step, Transitions
from pipeline.world_models.best import Part
from pipeline.world_models.termination import LearnedTermination, build_termination, in_words, privileged

BOUND_MARGIN = 0.05  # a log-variance this near its bound, as a share of the range, counts as saturated


@dataclass(frozen=True)
class EnsembleConfig:
    members: int = 7
    elites: int = 5  # the members of lowest held-out error; only these are drawn from
    width: int = 200
    depth: int = 4  # hidden layers
    learning_rate: float = 1e-3
    learning_rate_decay: bool = False  # cosine decay to zero over all epochs
    weight_decay: float = 1e-4  # of the last layer; earlier layers ramp down to a quarter, as in PETS
    log_variance_low: float = -14.0  # of standardised targets: 0.1 % of a target's spread
    log_variance_high: float = 1.0
    bound_weight: float = 0.01  # pulls the learned bounds together
    termination: str = "learned"  # learned | known (privileged: a hand-written rule) | off
    clamp_margin: float = 0.1  # drawn states stay within the logged range widened by this share; rewards within it

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.members:
            raise ValueError(f"elites {self.elites} must lie between 1 and members {self.members}")
        if self.termination not in ("learned", "known", "off"):
            raise ValueError(f"termination `{self.termination}` must be learned, known or off")


class GaussianEnsemble(nn.Module):
    """Every member predicts mean and variance of the standardised change of state and of the reward.

    The state is the standardised observation. Features that never vary are copied, and neither predicted nor penalised.
    """

    Config = EnsembleConfig
    remembers = False  # learns from single transitions
    gradient_clip = None

    def __init__(self, config: EnsembleConfig, facts: Facts) -> None:
        super().__init__()
        self.config, self.facts, self.statistics = config, facts, facts.statistics
        self.encoder = StandardEncoder(facts.obs_shapes, facts.statistics)
        self.state_dim, self.action_dim = self.encoder.state_dim, facts.action_dim
        self.reward_scale = facts.statistics.reward_std
        self._build_networks(config)
        self._register_scales(facts.statistics)
        self.termination = build_termination(config.termination, facts, self.state_dim, self.decode)

    def _build_networks(self, config: EnsembleConfig) -> None:
        outputs = len(self.statistics.active) + 1
        sizes = [self.state_dim + self.action_dim, *[config.width] * config.depth, 2 * outputs]
        ramp = torch.linspace(0.25, 1.0, config.depth + 1) * config.weight_decay
        self.net = stacked_mlp(config.members, sizes, ramp.tolist())
        self.low = nn.Parameter(torch.full((config.members, 1, outputs), config.log_variance_low))
        self.high = nn.Parameter(torch.full((config.members, 1, outputs), config.log_variance_high))
        self.register_buffer("elites", torch.arange(config.elites))
        self.elites: Tensor

    def _register_scales(self, s: Statistics) -> None:
        scales = {
            "active": torch.tensor(s.active, dtype=torch.long),
            "target_mean": torch.tensor([*s.delta_mean, s.reward_mean]),
            "target_std": torch.tensor([*s.delta_std, s.reward_std]),
            "state_low": self._state_bound(s.obs_min, -self.config.clamp_margin),
            "state_high": self._state_bound(s.obs_max, self.config.clamp_margin),
        }
        for name, value in scales.items():
            self.register_buffer(name, value, persistent=False)
        self.active: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor
        self.state_low: Tensor
        self.state_high: Tensor

    def _state_bound(self, edge: list[float], margin: float) -> Tensor:
        s = self.statistics
        logged_range = torch.tensor(s.obs_max) - torch.tensor(s.obs_min)
        return self.encoder.encode(torch.tensor(edge) + margin * logged_range)

    def termination_used(self) -> str:
        """In words, for the report."""
        return in_words(self.termination, self.facts)

    def privileged_knowledge(self) -> list[str]:
        """What this model was told rather than taught."""
        return privileged(self.termination, self.facts)

    # --- the interface of a world model ---

    def initial(self, batch: int) -> Tensor:
        return self.encoder.initial(batch)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        return self.encoder.observe(state, action, obs, first)

    def decode(self, state: Tensor) -> Observation:
        return self.encoder.decode(state)

    def actor_filter(self) -> StandardEncoder:
        return self.encoder

    def members(self, generator: Generator, count: int) -> Self:
        """An ensemble is its own set of weight samples; ``count`` is ignored."""
        return self

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """State "B Z" and action "B A", or a batch for each member "M B ..." -> mean and std "M B D"."""
        mean, log_variance = self._forward(torch.cat([state, action], dim=-1))
        return Prediction(mean, torch.exp(0.5 * log_variance), state.new_empty(mean.shape[1], 0))

    def draw(
        self,
        state: Tensor,
        action: Tensor,
        prediction: Prediction,
        generator: Generator | None,
        member: Tensor | None = None,
    ) -> Step:
        """A sample from one member for each row; without a generator, the mean over the elites."""
        if generator is None:
            target, member = prediction.mean[self.elites].mean(0), torch.full_like(state[:, 0], -1, dtype=torch.long)
        else:
            member = self.draw_members(len(state), generator) if member is None else member
            rows = torch.arange(len(state), device=state.device)
            mean, std = prediction.mean[member, rows], prediction.std[member, rows]
            target = mean + std * torch.randn(mean.shape, generator=generator, device=mean.device)
        next_state, reward = self._advance(state, target)
        return Step(next_state, reward, self.termination.continue_prob(state, action, next_state), member, target)

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One elite for each row, "B"."""
        picks = torch.randint(len(self.elites), (batch,), generator=generator, device=self.elites.device)
        return self.elites[picks]

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stacked = x if x.dim() == 3 else x.expand(self.config.members, *x.shape)
        mean, raw = self.net(stacked).float().chunk(2, dim=-1)
        # Two softplus bends keep the log-variance between the learned bounds with a gradient everywhere (PETS).
        below = self.high - F.softplus(self.high - raw)
        return mean, self.low + F.softplus(below - self.low)

    def _advance(self, state: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        raw = target * self.target_std + self.target_mean
        next_state = state.index_add(1, self.active, raw[:, :-1])
        # torch.clamp between tensors: a drawn step beyond what was ever logged is the model's error, not a discovery.
        next_state = torch.clamp(next_state, self.state_low, self.state_high)
        return next_state, raw[:, -1].clamp(self.statistics.reward_min, self.statistics.reward_max)

    # --- how it learns ---

    def targets(self, batch: Transitions) -> Tensor:
        """Standardised change of the varying state dimensions, and reward: "... B D"."""
        delta = (batch.next_state - batch.state)[..., self.active]
        return (torch.cat([delta, batch.reward[..., None]], dim=-1) - self.target_mean) / self.target_std

    def loss(
        self, batch: Transitions, generator: Generator | None = None, shard: Shard | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Gaussian negative log-likelihood, summed over members, of a batch for each member ("M B ..." fields). Nothing
        is drawn."""
        mean, log_variance = self._forward(torch.cat([batch.state, batch.action], dim=-1))
        error = (mean - self.targets(batch)).square()
        nll = (error * torch.exp(-log_variance) + log_variance).mean((1, 2)).sum()
        bounds = self.config.bound_weight * (self.high - self.low).mean((1, 2)).sum()
        metrics = {"nll": 0.5 * nll.detach() / len(mean), "mse": error.detach().mean()}
        loss = nll + bounds
        if isinstance(self.termination, LearnedTermination):
            ends = self.termination.loss(batch.state, batch.action, batch.next_state, batch.terminal).mean()
            loss, metrics["termination_loss"] = loss + ends, ends.detach()
        return loss, metrics

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam with PETS' weight decay for each layer (added to the gradient, as an L2 term is)."""
        layers = [m for m in self.net if isinstance(m, StackedLinear)]
        groups = [{"params": [m.weight], "weight_decay": m.weight_decay} for m in layers]
        decayed = {id(m.weight) for m in layers}
        groups.append({"params": [p for p in self.parameters() if id(p) not in decayed], "weight_decay": 0.0})
        return torch.optim.Adam(groups, lr=self.config.learning_rate, fused=True)

    def parts(self) -> list[Part]:
        """Each member keeps its own best weights by its own error; the termination head by its own loss."""
        stacked = {k: p for k, p in self.named_parameters() if not k.startswith("termination.")}
        parts = [Part("mse", self.config.members, stacked)]
        if isinstance(self.termination, LearnedTermination):
            parts.append(Part.whole("termination_loss", self.termination))
        return parts

    @torch.no_grad()
    def held_out(self, batch: Transitions) -> dict[str, Tensor]:
        """Sums over one held-out batch ("B ..." fields), to be added up and divided by ``count``: squared error and
        negative log-likelihood of each member "M", saturation of the log-variance at either bound, termination loss."""
        mean, log_variance = self._forward(torch.cat([batch.state, batch.action], dim=-1))
        error = (mean - self.targets(batch)).square()
        margin = BOUND_MARGIN * (self.high - self.low)
        sums = {
            "mse": error.mean(-1).sum(1),
            "nll": 0.5 * (error * torch.exp(-log_variance) + log_variance).mean(-1).sum(1),
            "low_share": (log_variance < self.low + margin).float().mean((0, 2)).sum(),
            "high_share": (log_variance > self.high - margin).float().mean((0, 2)).sum(),
            "count": torch.tensor(float(len(batch)), device=mean.device),
        }
        if isinstance(self.termination, LearnedTermination):
            ends = self.termination.loss(batch.state, batch.action, batch.next_state, batch.terminal)
            sums["termination_loss"] = ends.mean() * len(batch)
        return sums

    def conclude(self, best: dict[str, Tensor], held_out: list[Transitions], train: list[Transitions]) -> None:
        """Choose the elites and calibrate the termination head, once the best weights are back.

        Elites by held-out error: training error prefers the member that overfits.
        """
        self.elites.copy_(best["mse"].argsort()[: self.config.elites])
        if isinstance(self.termination, LearnedTermination):
            data = Transitions.cat(held_out)
            data = data if data.terminal.any() else Transitions.cat(train)
            self.termination.calibrate(data.state, data.action, data.next_state, data.terminal)
