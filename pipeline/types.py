"""Every tensor that crosses a folder, and the shape alphabet.

B batch · T time · M ensemble member · Z state of the world model · D predicted dimensions · A action

Shapes stand in the annotations (``Annotated[Tensor, "B Z"]``). Under pytest they are checked whenever one of these
classes is built (``tests/conftest.py``); in production they cost nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Self

import torch
from torch import Tensor

Observation = dict[str, Tensor]  # what crosses the border to an environment or a log: name -> "B ..."
Metrics = dict[str, float]


class TensorFields:
    """What the dataclasses below share: apply one function to every tensor, index the leading axis, concatenate."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        changed = {f.name: function(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
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
    never a time limit; ``logged`` tells logged (1.0) from imagined (0.0)."""

    state: Annotated[Tensor, "B Z"]
    action: Annotated[Tensor, "B A"]  # in [-1, 1]
    reward: Annotated[Tensor, "B"]  # in the log's own unit
    next_state: Annotated[Tensor, "B Z"]
    terminal: Annotated[Tensor, "B"]
    penalty: Annotated[Tensor, "B"]
    logged: Annotated[Tensor, "B"]


@dataclass(frozen=True)
class Prediction(TensorFields):
    """What every member believes about one step, before anything is drawn.

    ``mean`` and ``std`` are in the model's standardised units (each dimension divided by its spread in the logs), so a
    root mean square over ``D`` has no unit. For the Gaussian ensemble ``D`` is the change of every non-constant state
    dimension, and the reward last; for a latent model it is the latent.
    """

    mean: Annotated[Tensor, "M B D"]
    std: Annotated[Tensor, "M B D"]


@dataclass(frozen=True)
class Step(TensorFields):
    """One drawn step."""

    state: Annotated[Tensor, "B Z"]
    reward: Annotated[Tensor, "B"]
    continue_prob: Annotated[Tensor, "B"]  # probability that the episode goes on
    member: Annotated[Tensor, "B"]  # which member it was drawn from


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
        )
        return flat
