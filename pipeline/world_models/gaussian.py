"""What Gaussian world models of vectors share: draws, likelihood, termination. The network is a part of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.history import LONGEST, HistoryEncoder, vector_encoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec
from pipeline.networks.mlp import StackedLinear
from pipeline.types import Observation, Prediction, Shard, Step, Transitions
from pipeline.world_models.best_weights import CheckpointGroup
from pipeline.world_models.target_scaler import StepScale
from pipeline.world_models.termination import TERMINATIONS, LearnedTermination, build_termination, in_words, privileged

BOUND_MARGIN = 0.05  # a log-variance this near its bound, as a share of the range, counts as saturated


class Network(Protocol):
    """Sets of weights that predict (members), and those that are trained and judged on their own (learners): the same
    for an ensemble, one for weights that are random."""

    num_bootstraps: int

    @property
    def members(self) -> int: ...

    def __call__(self, x: Tensor) -> Tensor:
        """What every member says of its own batch: "M B X" -> "M B Y"."""

    def learn(self, x: Tensor, generator: Generator | None, shard: Shard) -> Tensor:
        """What training sees: "L B X" -> "L B Y"."""

    def divergence(self) -> Tensor | None:
        """What random weights cost: KL of their posterior from their prior, in nats; None where nothing is random."""


@dataclass(frozen=True)
class GaussianConfig:
    width: int = 200
    depth: int = 4  # hidden layers
    learning_rate: float = 1e-3
    log_variance_low: float = -14.0  # of normalized targets: 0.1 % of a target's spread
    log_variance_high: float = 1.0
    bound_weight: float = 0.01  # pulls the learned bounds together
    beta: float = 0.0  # 0: the likelihood; up to 1: outputs that are nearly certain no longer drown the others
    criterion: str = "mse"  # held-out error that picks weights; geometric_mse: no noisy output outvotes the rest
    termination: str = "learned"  # learned | known (privileged: a hand-written rule) | off
    clamp_margin: float = 0.1  # drawn states stay within the logged range widened by this share; rewards within it
    history: int = 0  # steps before the present one that the state holds, for delays and for what is not observed

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta {self.beta} must lie between 0 and 1")
        if self.criterion not in ("mse", "geometric_mse"):
            raise ValueError(f"criterion `{self.criterion}` must be mse or geometric_mse")
        if self.termination not in TERMINATIONS:
            raise ValueError(f"termination `{self.termination}` must be one of {', '.join(TERMINATIONS)}")
        if not 0 <= self.history <= LONGEST:
            raise ValueError(f"history {self.history} must lie between 0 and {LONGEST}")


def weighted(nll: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """Each term of a Gaussian likelihood times its own variance to the power ``beta``, which has no gradient (Seitzer
    et al. 2022, arXiv:2203.09168). Otherwise what is known to a thousandth outweighs the rest a million times."""
    return nll if beta == 0 else nll * torch.exp(beta * log_variance.detach())


class GaussianModel(nn.Module):
    """Every member predicts mean and variance of the normalized change of state and of the reward.

    The state is the normalized observation, perhaps with a history (:mod:`pipeline.encoders.history`), which moves on
    as steps are seen or drawn. Features that never vary, or seldom within an episode (settings), are copied, and
    neither predicted nor penalized; nor is the history.
    A subclass brings its network, its ``members`` and what training settles (``finalize``), and overrides nothing.
    """

    recurrent = False
    gradient_clip = None
    decays_learning_rate = False
    elite_members: Tensor

    def __init__(self, config: Any, facts: DataSpec, network: Callable[[list[int]], Network]) -> None:
        """``network`` builds one with layers of the given sizes."""
        super().__init__()
        self.config, self.data_spec = config, facts
        self.encoder = vector_encoder(config.history, facts.obs_shapes, facts.statistics, facts.action_dim)
        self.state_dim, self.action_dim, self.stateful = self.encoder.state_dim, facts.action_dim, config.history > 0
        self.reward_scale = facts.statistics.reward_std
        self.scale = StepScale(facts.statistics, config.clamp_margin)
        outputs = len(facts.statistics.changing) + 1
        self.net: Any = network([self.state_dim + self.action_dim, *[config.width] * config.depth, 2 * outputs])
        self.low = nn.Parameter(torch.full((self.net.num_bootstraps, 1, outputs), config.log_variance_low))
        self.high = nn.Parameter(torch.full((self.net.num_bootstraps, 1, outputs), config.log_variance_high))
        self.termination = build_termination(config.termination, facts, self.encoder)

    @property
    def elites(self) -> Tensor:
        """The members that are drawn from. A buffer would not do: from Python 3.12 on a Protocol does not see it."""
        return self.elite_members

    @property
    def num_bootstraps(self) -> int:
        """How many batches one gradient step takes, side by side."""
        return self.net.num_bootstraps  # type: ignore[no-any-return]

    def termination_used(self) -> str:
        """In words, for the report."""
        return in_words(self.termination, self.data_spec)

    def privileged_knowledge(self) -> list[str]:
        """What this model was told rather than taught."""
        return privileged(self.termination, self.data_spec)

    # --- the interface of a world model ---

    def initial(self, batch: int) -> Tensor:
        return self.encoder.initial(batch)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        return self.encoder.observe(state, action, obs, first)

    def decode(self, state: Tensor) -> Observation:
        return self.encoder.decode(state)

    def actor_encoder(self) -> StandardEncoder | HistoryEncoder:
        return self.encoder

    def predict(self, state: Tensor, action: Tensor) -> Prediction:
        """State "B Z" and action "B A", or a batch for each member "M B ..." -> mean and std "M B D"."""
        mean, log_variance = self._believed(torch.cat([state, action], dim=-1))
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
        present, reward = self.scale.advance(self.encoder.current_obs(state), target)
        next_state = self.encoder.advance(state, action, present)
        return Step(next_state, reward, self.termination.continue_prob(state, action, next_state), member, target)

    def draw_members(self, batch: int, generator: Generator) -> Tensor:
        """One elite for each row, "B"."""
        picks = torch.randint(len(self.elites), (batch,), generator=generator, device=self.elites.device)
        return self.elites[picks]

    def _believed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance "M B D" that members expect after inputs "B X" or "M B X"."""
        return self._bounded(self.net(x if x.dim() == 3 else x.expand(self.net.members, *x.shape)))

    def _bounded(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = raw.float().chunk(2, dim=-1)
        # Two softplus bends keep the log-variance between the learned bounds with a gradient everywhere (PETS).
        below = self.high - F.softplus(self.high - raw)
        return mean, self.low + F.softplus(below - self.low)

    # --- how it learns ---

    def targets(self, batch: Transitions) -> Tensor:
        """Normalized change of the varying state dimensions, and reward: "... B D"."""
        return self.scale.targets(batch)

    def loss(
        self, batch: Transitions, generator: Generator | None = None, shard: Shard | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Twice the Gaussian negative log-likelihood of one predicted number, summed over learners, of a batch for each
        ("L B ..." fields); where weights are random, with their divergence: the negative evidence bound."""
        inputs = torch.cat([batch.state, batch.action], dim=-1)
        mean, log_variance = self._bounded(self.net.learn(inputs, generator, shard or Shard()))
        error = (mean - self.targets(batch)).square()
        nll = error * torch.exp(-log_variance) + log_variance
        metrics = {"nll": 0.5 * nll.detach().mean((1, 2)).sum() / len(mean), "mse": error.detach().mean()}
        nll = weighted(nll, log_variance, self.config.beta).mean((1, 2)).sum()
        bounds = self.config.bound_weight * (self.high - self.low).mean((1, 2)).sum()
        loss = nll + bounds
        if (divergence := self.net.divergence()) is not None:
            share = divergence / (self.data_spec.transitions * mean.shape[-1])  # of one predicted number
            loss, metrics["kl"] = loss + 2 * share, share.detach()
        if isinstance(self.termination, LearnedTermination):
            ends = self._termination_loss(batch, self.termination).mean()
            loss, metrics["termination_loss"] = loss + ends, ends.detach()
        return loss, metrics

    def _termination_loss(self, batch: Transitions, head: LearnedTermination) -> Tensor:
        return head.loss(
            head.current_obs(batch.state), batch.action, head.current_obs(batch.next_state), batch.terminal
        )

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam with each layer's own weight decay (added to the gradient, as an L2 term is)."""
        layers = [m for m in self.net.modules() if isinstance(m, StackedLinear)]
        groups = [{"params": [m.weight], "weight_decay": m.weight_decay} for m in layers]
        decayed = {id(m.weight) for m in layers}
        groups.append({"params": [p for p in self.parameters() if id(p) not in decayed], "weight_decay": 0.0})
        return torch.optim.Adam(groups, lr=self.config.learning_rate, fused=True)

    def checkpoint_groups(self) -> list[CheckpointGroup]:
        """Each learner keeps its own best weights by its own error; the termination head by its own loss."""
        stacked = {k: p for k, p in self.named_parameters() if not k.startswith("termination.")}
        parts = [CheckpointGroup(self.config.criterion, self.num_bootstraps, stacked)]
        if isinstance(self.termination, LearnedTermination):
            parts.append(CheckpointGroup.whole("termination_loss", self.termination))
        return parts

    @torch.no_grad()
    def held_out(self, batch: Transitions) -> dict[str, Tensor]:
        """Sums over one held-out batch ("B ..." fields), to be added up and divided by ``count``: squared error,
        also by output "L D", and negative log-likelihood of each learner "L", saturation of the log-variance at either
        bound, termination loss.

        Members that share a learner are judged together, as the Gaussian with the moments of their mixture.
        """
        mean, log_variance = self._believed(torch.cat([batch.state, batch.action], dim=-1))
        margin = BOUND_MARGIN * (self.high - self.low)
        sums = {
            "low_share": (log_variance < self.low + margin).float().mean((0, 2)).sum(),
            "high_share": (log_variance > self.high - margin).float().mean((0, 2)).sum(),
            "count": torch.tensor(float(len(batch)), device=mean.device),
        }
        if self.num_bootstraps < len(mean):
            mean, log_variance = mixture(mean, log_variance)
        error = (mean - self.targets(batch)).square()
        sums |= {"mse": error.mean(-1).sum(1), "output_mse": error.sum(1)}
        sums["nll"] = 0.5 * (error * torch.exp(-log_variance) + log_variance).mean(-1).sum(1)
        if isinstance(self.termination, LearnedTermination):
            ends = self._termination_loss(batch, self.termination)
            sums["termination_loss"] = ends.mean() * len(batch)
        return sums

    def validation_metrics(self, held_out: dict[str, Tensor]) -> dict[str, Tensor]:
        """Held-out means, the errors of single outputs as their geometric mean "L"."""
        outputs = held_out.pop("output_mse")
        return held_out | {"geometric_mse": outputs.log().mean(-1).exp()}

    def calibrate(self, held_out: list[Transitions], train: list[Transitions]) -> None:
        """Settle where the termination head decides, once the best weights are back."""
        if isinstance(self.termination, LearnedTermination):
            self.termination.calibrate(held_out, train)


def mixture(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance "1 B D" of members "M B D" in equal parts, by the law of total variance."""
    variance = log_variance.exp().mean(0, keepdim=True) + mean.var(0, correction=0, keepdim=True)
    return mean.mean(0, keepdim=True), variance.log()
