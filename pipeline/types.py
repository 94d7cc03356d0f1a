"""The tensor types that packages exchange, and the letters that name their axes.

B batch · T time · M ensemble member · Z state of the world model · D predicted dimensions · A action

Annotations give the shapes (``Annotated[Tensor, "B Z"]``). The tests check them whenever one of these classes is built
(``tests/conftest.py``); in production they cost nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

Observation = dict[str, Tensor]  # name -> "B ...", in the units of the environment or the log
Metrics = dict[str, float]
SMALLEST_STD = 1e-6  # minimum standard deviation for densities; a deterministic member predicts 0


class TorchModule(Protocol):
    """The methods of ``torch.nn.Module`` that callers of world models and policies use."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and persistent buffers by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Copy parameters and buffers from ``state_dict``. Raises RuntimeError when names or shapes differ."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All trainable tensors."""

    def to(self, device: torch.device | str) -> Self:
        """Move the module to ``device`` in place."""

    def cpu(self) -> Self:
        """Move the module to the CPU in place."""

    def eval(self) -> Self:
        """Switch to evaluation mode in place."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch gradients of all parameters on or off in place."""


@dataclass(frozen=True)
class Shard:
    """One rank's share of a global batch: every ``ranks``-th row, starting at row ``rank``."""

    rank: int = 0
    ranks: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """The rows "R ..." of this rank, out of the rows "B ..." of all ranks."""
        return rows[self.rank :: self.ranks]


class TensorFields:
    """Base of the dataclasses below: map over all tensors, index the leading axis, concatenate."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every subclass is a dataclass

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with ``function`` applied to every tensor, those inside observations too."""

        def apply(value: Tensor | Observation) -> Tensor | Observation:
            return {k: function(v) for k, v in value.items()} if isinstance(value, dict) else function(value)

        return replace(self, **{f.name: apply(getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device | str) -> Self:
        """A copy on ``device``."""
        return self.map(lambda x: x.to(device))

    def __getitem__(self, index: Tensor | slice) -> Self:
        """Rows by a slice, by their numbers, of any shape, or by a mask "B"; numbers are not negative."""
        if isinstance(index, slice):
            return self.map(lambda x: x[index])
        (rows,) = index.nonzero(as_tuple=True) if index.dtype == torch.bool else (index,)
        # Whole rows are copied; general indexing takes several times as long, and its gradient too.
        return self.map(lambda x: x.index_select(0, rows.flatten().to(x.device)).reshape((*rows.shape, *x.shape[1:])))

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def split(self, rows: int) -> list[Self]:
        """Consecutive parts of at most ``rows`` rows; views where the tensors allow it."""
        return [self[i : i + rows] for i in range(0, len(self), rows)]

    @classmethod
    def cat(cls, parts: list[Self]) -> Self:
        """All ``parts`` joined along the leading axis. Their fields must be tensors."""
        names = [f.name for f in fields(cls)]
        return cls(**{n: torch.cat([getattr(p, n) for p in parts]) for n in names})


def no_rows(like: Tensor) -> Tensor:
    """``row`` "B" of steps that are in no dataset, on the device of ``like`` "B"."""
    return torch.full_like(like, -1, dtype=torch.long)


@dataclass(frozen=True)
class Transitions(TensorFields):
    """Single steps; flags are 1.0 or 0.0.

    ``penalty`` is in units of reward, and zero for logged steps. ``terminal`` marks a termination of the task, never a
    time limit. ``logged`` separates logged steps from imagined ones. ``halted`` marks the step where an imagined
    rollout was stopped for excessive penalty; that is not a termination of the task. ``row`` is the row of a logged
    step in its dataset, and -1 for other steps. ``next_action`` is the action of the next step of the episode or
    rollout; the last step repeats its own.
    """

    state: Annotated[Tensor, "B Z"]
    action: Annotated[Tensor, "B A"]  # in [-1, 1], unless logged beyond the bounds of `dataset.action_quantile`
    reward: Annotated[Tensor, "B"]  # in the log's own unit
    next_state: Annotated[Tensor, "B Z"]
    terminal: Annotated[Tensor, "B"]
    penalty: Annotated[Tensor, "B"]
    logged: Annotated[Tensor, "B"]
    halted: Annotated[Tensor, "B"]
    row: Annotated[Tensor, "B"]  # int64
    next_action: Annotated[Tensor, "B A"]

    @classmethod
    def from_log(
        cls,
        state: Tensor,
        action: Tensor,
        reward: Tensor,
        next_state: Tensor,
        terminal: Tensor,
        row: Tensor | None = None,
        next_action: Tensor | None = None,
    ) -> Self:
        """Logged steps: their penalty and ``halted`` are zero. Shapes as in the fields; without ``next_action`` each
        step is the last of its episode."""
        zeros = torch.zeros_like(reward)
        row = no_rows(reward) if row is None else row
        following = action if next_action is None else next_action
        return cls(state, action, reward, next_state, terminal, zeros, zeros + 1, zeros, row, following)


@dataclass(frozen=True)
class Segments(TensorFields):
    """Windows of consecutive logged steps, each from one episode.

    A window that is longer than the rest of its episode is padded at the end. ``valid`` is 0.0 there, and no loss may
    depend on the padding.
    """

    action: Annotated[Tensor, "B T A"]  # in [-1, 1], unless logged beyond the bounds of `dataset.action_quantile`
    reward: Annotated[Tensor, "B T"]  # reward[t] belongs to the step into obs[t + 1]
    terminal: Annotated[Tensor, "B T"]
    valid: Annotated[Tensor, "B T"]
    obs: Observation  # each "B T+1 ...", in the log's own units


@dataclass(frozen=True)
class Prediction(TensorFields):
    """Every member's predictive distribution of one step, before sampling.

    ``mean`` and ``std`` are in the model's normalized units (each dimension divided by its standard deviation in the
    logs), so a root mean square over ``D`` has no unit. For the Gaussian ensemble ``D`` is the change of every state
    dimension that varies, then the reward; for a latent model it is the stochastic latent. ``carry`` is the
    deterministic part of the next state, which all members share ("B 0" where there is none).
    """

    mean: Annotated[Tensor, "M B D"]
    std: Annotated[Tensor, "M B D"]
    carry: Annotated[Tensor, "B C"]

    def log_prob(self, sample: Tensor) -> Tensor:
        """Log-density "M B" of ``sample`` "B D" under each member, in nats."""
        return self._normal().log_prob(sample).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy "M B" of each member's distribution, in nats."""
        return self._normal().entropy().sum(-1)

    def _normal(self) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.mean, self.std.clamp(min=SMALLEST_STD), validate_args=False)


def of_members(values: Annotated[Tensor, "M B ..."], member: Annotated[Tensor, "B"]) -> Annotated[Tensor, "B ..."]:
    """The values of one ``member`` for each row."""
    rows = torch.arange(len(member), device=member.device)
    return values.flatten(0, 1).index_select(0, member * len(member) + rows)


@dataclass(frozen=True)
class CategoricalPrediction(Prediction):
    """Prediction of several categorical latents. ``probs`` holds their class probabilities side by side; ``mean`` and
    ``std`` are the normalized moments of their one-hot vectors."""

    probs: Annotated[Tensor, "M B D"]

    def log_prob(self, sample: Tensor) -> Tensor:
        """Log-probability "M B" of one-hot latents "B D", in nats. ``sample`` is normalized as ``mean`` is, so the
        drawn class of each latent is the positive entry."""
        return (self.probs.log() * (sample > 0)).sum(-1)

    def entropy(self) -> Tensor:
        """Entropy "M B" of each member's distribution, summed over latents, in nats."""
        return -(self.probs * self.probs.log()).sum(-1)


@dataclass(frozen=True)
class Beliefs(TensorFields):
    """Posterior and prior of a latent world model at every frame of windows, filtered from the initial state.

    A latent has U units of K numbers each: K is 1 for a continuous latent and the number of classes for a categorical
    one (a one-hot vector). Latents are in their own unit. Divergence and entropies are summed over units, in nats.
    Statistics of the prior are averaged over its heads.
    """

    state: Annotated[Tensor, "B T+1 Z"]
    mode: Annotated[Tensor, "B T+1 U K"]  # mode of the posterior, which is the latent in the state
    prior_variance: Annotated[Tensor, "B T+1 U K"]
    kl: Annotated[Tensor, "B T+1"]  # KL(posterior || prior)
    posterior_entropy: Annotated[Tensor, "B T+1"]
    prior_entropy: Annotated[Tensor, "B T+1"]


@dataclass(frozen=True)
class Step(TensorFields):
    """One sampled step."""

    state: Annotated[Tensor, "B Z"]
    reward: Annotated[Tensor, "B"]
    continue_prob: Annotated[Tensor, "B"]  # probability that the episode continues
    member: Annotated[Tensor, "B"]  # index of the member that was sampled; -1 for the mean over members
    sample: Annotated[Tensor, "B D"]  # in the units of Prediction.mean


@dataclass(frozen=True)
class Future(TensorFields):
    """Exogenous values of the H steps after logged states, normalized as in the states.

    ``present`` is 1.0 up to the last row of the log's episode; a rollout ends there.
    """

    inputs: Annotated[Tensor, "B H X"]
    present: Annotated[Tensor, "B H"]


@dataclass(frozen=True)
class Rollout(TensorFields):
    """Imagined steps; flags are 1.0 or 0.0.

    ``alive[t]`` is 1.0 while the rollout runs and 0.0 after its end. ``terminal`` marks a predicted termination,
    ``halted`` an end for excessive penalty (MOReL, Kidambi et al. 2020, arXiv:2005.05951), which is not a termination
    of the task. A rollout with a :class:`Future` also ends, without a mark, where that ends. Reward and penalty are in
    units of reward.
    """

    action: Annotated[Tensor, "B T A"]
    state: Annotated[Tensor, "B T+1 Z"]
    reward: Annotated[Tensor, "B T"]
    penalty: Annotated[Tensor, "B T"]
    continue_prob: Annotated[Tensor, "B T"]
    terminal: Annotated[Tensor, "B T"]
    halted: Annotated[Tensor, "B T"]
    alive: Annotated[Tensor, "B T"]

    @property
    def last(self) -> Tensor:
        """1.0 at the step with which a rollout ends before its last step, and at a terminal of the last one: "B T"."""
        ended = self.alive[:, :-1] * (1 - self.alive[:, 1:])
        return torch.cat([ended, self.alive[:, -1:] * self.terminal[:, -1:]], dim=1)

    def transitions(self) -> Transitions:
        """The steps that were taken while the rollout was alive, as one flat batch."""
        steps = Transitions(
            state=self.state[:, :-1],
            action=self.action,
            reward=self.reward,
            next_state=self.state[:, 1:],
            terminal=self.terminal,
            penalty=self.penalty,
            logged=torch.zeros_like(self.reward),
            halted=self.halted,
            row=no_rows(self.reward),
            next_action=torch.cat([self.action[:, 1:], self.action[:, -1:]], dim=1),
        )
        return steps.map(lambda x: x.flatten(0, 1))[self.alive.flatten().bool()]
