"""Every tensor that crosses a folder, and the shape alphabet.

B batch · T time · M ensemble member · Z state of the world model · D predicted dimensions · A action

Shapes stand in the annotations (``Annotated[Tensor, "B Z"]``). Under pytest they are checked whenever one of these
classes is built (``tests/conftest.py``); in production they cost nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Protocol, Self

import torch
from torch import Tensor

Observation = dict[str, Tensor]  # what crosses the border to an environment or a log: name -> "B ..."
Metrics = dict[str, float]
SMALLEST_STD = 1e-6  # of a density: a member that expects no noise has none, but a density needs some


class TorchModule(Protocol):
    """The methods of ``torch.nn.Module`` that callers of world models and policies use."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...

    def to(self, device: torch.device | str) -> Self: ...

    def cpu(self) -> Self: ...

    def eval(self) -> Self: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...


@dataclass(frozen=True)
class Shard:
    """One rank's share of a global batch: every ``ranks``-th row, from ``rank`` on."""

    rank: int = 0
    ranks: int = 1

    def of(self, rows: Tensor) -> Tensor:
        return rows[self.rank :: self.ranks]


class TensorFields:
    """What the dataclasses below share: apply one function to every tensor, index the leading axis, concatenate."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        def change(value: Tensor | Observation) -> Tensor | Observation:
            return {k: function(v) for k, v in value.items()} if isinstance(value, dict) else function(value)

        changed = {f.name: change(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return replace(self, **changed)  # type: ignore[type-var]

    def to(self, device: torch.device | str) -> Self:
        return self.map(lambda x: x.to(device))

    def __getitem__(self, index: Tensor | slice) -> Self:
        return self.map(lambda x: x[index])

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @classmethod
    def cat(cls, parts: list[Self]) -> Self:
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        return cls(**{n: torch.cat([getattr(p, n) for p in parts]) for n in names})


@dataclass(frozen=True)
class Transitions(TensorFields):
    """Single steps. ``penalty`` is in units of reward and zero for logged steps; ``terminal`` is a true end (1.0),
    never a time limit; ``logged`` tells logged (1.0) from imagined (0.0); ``halted`` is an imagined rollout's end for
    excessive penalty (1.0), which the task knows nothing of, and zero for logged steps."""

    state: Annotated[Tensor, "B Z"]
    action: Annotated[Tensor, "B A"]  # in [-1, 1], unless logged beyond the bounds of `dataset.action_quantile`
    reward: Annotated[Tensor, "B"]  # in the log's own unit
    next_state: Annotated[Tensor, "B Z"]
    terminal: Annotated[Tensor, "B"]
    penalty: Annotated[Tensor, "B"]
    logged: Annotated[Tensor, "B"]
    halted: Annotated[Tensor, "B"]

    @classmethod
    def from_log(cls, state: Tensor, action: Tensor, reward: Tensor, next_state: Tensor, terminal: Tensor) -> Self:
        """Logged steps, which carry no penalty and no halt."""
        zeros = torch.zeros_like(reward)
        return cls(state, action, reward, next_state, terminal, penalty=zeros, logged=zeros + 1, halted=zeros)


@dataclass(frozen=True)
class Segments(TensorFields):
    """Windows of consecutive logged steps of one episode each. A window that leaves its episode is padded at the end;
    ``valid`` is 0.0 there, and no loss may depend on what padding holds."""

    action: Annotated[Tensor, "B T A"]  # in [-1, 1], unless logged beyond the bounds of `dataset.action_quantile`
    reward: Annotated[Tensor, "B T"]  # reward[t] belongs to the step into obs[t + 1]
    terminal: Annotated[Tensor, "B T"]
    valid: Annotated[Tensor, "B T"]
    obs: Observation  # each "B T+1 ...", raw


@dataclass(frozen=True)
class Prediction(TensorFields):
    """What every member believes about one step, before anything is drawn.

    ``mean`` and ``std`` are in the model's normalized units (each dimension divided by its spread in the logs), so a
    root mean square over ``D`` has no unit. For the Gaussian ensemble ``D`` is the change of every non-constant state
    dimension, and the reward last; for a latent model it is the stochastic latent. ``carry`` is the deterministic part
    of the next state, which the members share ("B 0" where there is none).
    """

    mean: Annotated[Tensor, "M B D"]
    std: Annotated[Tensor, "M B D"]
    carry: Annotated[Tensor, "B C"]

    def log_prob(self, sample: Tensor) -> Tensor:
        """Log-density "M B" that each member gives to ``sample`` "B D"."""
        return self._normal().log_prob(sample).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy "M B" of what each member expects, in nats."""
        return self._normal().entropy().sum(-1)

    def _normal(self) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.mean, self.std.clamp(min=SMALLEST_STD), validate_args=False)


@dataclass(frozen=True)
class CategoricalPrediction(Prediction):
    """``probs`` are those of several categorical latents side by side; ``mean`` and ``std`` are the moments of their
    one-hot vectors, normalized."""

    probs: Annotated[Tensor, "M B D"]

    def log_prob(self, sample: Tensor) -> Tensor:
        """Log-probability "M B" of one-hot latents, given normalized as in ``mean``: what is largest was drawn."""
        return (self.probs.log() * (sample > 0)).sum(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.probs.log()).sum(-1)


@dataclass(frozen=True)
class Beliefs(TensorFields):
    """What a model with a stochastic latent believed at every frame of windows, filtered from an empty memory.

    A latent has U units of K numbers each: one where it is continuous, a one-hot vector where it is categorical, in the
    latent's own unit. Divergence and entropies are summed over units, in nats; where the prior has several heads,
    what is said of it is the mean over them.
    """

    state: Annotated[Tensor, "B T+1 Z"]
    mode: Annotated[Tensor, "B T+1 U K"]  # the posterior's most likely latent, which the state holds
    prior_variance: Annotated[Tensor, "B T+1 U K"]
    kl: Annotated[Tensor, "B T+1"]  # KL(posterior || prior)
    posterior_entropy: Annotated[Tensor, "B T+1"]
    prior_entropy: Annotated[Tensor, "B T+1"]


@dataclass(frozen=True)
class Step(TensorFields):
    """One drawn step."""

    state: Annotated[Tensor, "B Z"]
    reward: Annotated[Tensor, "B"]
    continue_prob: Annotated[Tensor, "B"]  # probability that the episode goes on
    member: Annotated[Tensor, "B"]  # which member it was drawn from
    sample: Annotated[Tensor, "B D"]  # what was drawn, in the units of Prediction.mean


@dataclass(frozen=True)
class Rollout(TensorFields):
    """Imagined steps. ``alive[t]`` is 1.0 where step t was taken, 0.0 after the rollout had ended; ``terminal`` is a
    predicted end, ``halted`` an end for excessive penalty (MOReL): a halt is not a termination of the task."""

    action: Annotated[Tensor, "B T A"]
    state: Annotated[Tensor, "B T+1 Z"]
    reward: Annotated[Tensor, "B T"]
    penalty: Annotated[Tensor, "B T"]
    continue_prob: Annotated[Tensor, "B T"]
    terminal: Annotated[Tensor, "B T"]
    halted: Annotated[Tensor, "B T"]
    alive: Annotated[Tensor, "B T"]

    def transitions(self) -> Transitions:
        """The steps that were really taken, flattened."""
        taken = self.alive.bool()
        flat = Transitions(
            state=self.state[:, :-1][taken],
            action=self.action[taken],
            reward=self.reward[taken],
            next_state=self.state[:, 1:][taken],
            terminal=self.terminal[taken],
            penalty=self.penalty[taken],
            logged=torch.zeros_like(self.reward[taken]),
            halted=self.halted[taken],
        )
        return flat
