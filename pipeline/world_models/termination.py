"""When does an episode end? Learned from the logs by default; the known rules of some tasks are privileged knowledge
and stand in this one table."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.mlp import mlp
from pipeline.types import Observation, Transitions

if TYPE_CHECKING:
    from pipeline.world_models.protocols import TrainableWorldModel


TERMINATIONS = ("learned", "known", "off")
WIDTH = 64  # of the layers of a learned head


def _hopper(obs: Tensor) -> Tensor:
    """Gymnasium Hopper: healthy while height > 0.7, |angle| < 0.2 and every other entry within 100."""
    return ~((obs[..., 0] > 0.7) & (obs[..., 1].abs() < 0.2) & (obs[..., 1:].abs() < 100).all(-1))


def _walker2d(obs: Tensor) -> Tensor:
    """Gymnasium Walker2d: healthy while height is in (0.8, 2) and |angle| < 1."""
    return ~((obs[..., 0] > 0.8) & (obs[..., 0] < 2.0) & (obs[..., 1].abs() < 1.0))


def _never(obs: Tensor) -> Tensor:
    return torch.zeros_like(obs[..., 0], dtype=torch.bool)


KNOWN_RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "hopper": _hopper,
    "walker2d": _walker2d,
    "halfcheetah": _never,
    "pendulum": _never,
}


class Reader(Protocol):
    """Tells what states "B Z" hold of the present."""

    current_dim: int

    def current_obs(self, state: Tensor) -> Tensor:
        """What a learned head is shown: "B P"."""

    def decode(self, state: Tensor) -> Observation:
        """The vectors in the environment's own units."""


class KnownTermination(nn.Module):
    """The rule of a named task, applied to the decoded next observation."""

    def __init__(self, task: str, reader: Reader) -> None:
        super().__init__()
        if task not in KNOWN_RULES:
            raise ValueError(f"params.yaml: `world_model.termination: known` has no rule for `{task}` "
                             f"(known: {', '.join(KNOWN_RULES)}); use `learned`")  # fmt: skip
        self.task, self.decode = task, reader.decode

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        flat = torch.cat([v.flatten(1) for v in self.decode(next_state).values()], dim=1)
        return 1.0 - KNOWN_RULES[self.task](flat).to(flat.dtype)


class NoTermination(nn.Module):
    """For logs without a single terminal: the model never ends an episode."""

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return torch.ones_like(next_state[:, 0])


class LearnedTermination(nn.Module):
    """Binary classifier on (state, action, next state). Terminals are rare, so they are weighted up in the loss; the
    weight is taken off the logit again, and ``calibrate`` moves the decision point to where F1 is best. Of a state it
    sees what ``present`` makes of it, "B Z" -> "B P": in a history or a wide latent the few terminals would be learned
    by heart."""

    def __init__(self, reader: Reader, action_dim: int, terminal_share: float) -> None:
        super().__init__()
        self.current_obs, self.net = (
            reader.current_obs,
            mlp([2 * reader.current_dim + action_dim, WIDTH, WIDTH, 1], nn.SiLU),
        )
        self.positive_weight = math.sqrt((1 - terminal_share) / terminal_share)
        self.register_buffer("offset", torch.tensor(-math.log(self.positive_weight)))
        self.offset: Tensor

    def forward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The weighted logit of "this step was terminal", "B"."""
        return self._logit(self.current_obs(state), action, self.current_obs(next_state))

    def loss(self, present: Tensor, action: Tensor, next_present: Tensor, terminal: Tensor) -> Tensor:
        """Weighted cross-entropy of every step, "...", of presents "... P" instead of states."""
        weight = torch.tensor(self.positive_weight, device=terminal.device)
        logit = self._logit(present, action, next_present)
        return F.binary_cross_entropy_with_logits(logit, terminal, pos_weight=weight, reduction="none")

    def _logit(self, present: Tensor, action: Tensor, next_present: Tensor) -> Tensor:
        return self.net(torch.cat([present, action, next_present], dim=-1)).squeeze(-1)

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        return torch.sigmoid(-(self(state, action, next_state) + self.offset))

    @torch.no_grad()
    def calibrate(self, held_out: list[Transitions], train: list[Transitions]) -> None:
        """Put the decision point (probability one half) at the logit of best F1 on held-out batches, on the others
        where no terminal was held out."""
        data = Transitions.cat(held_out if any(batch.terminal.any() for batch in held_out) else train)
        logit, order = self(data.state, data.action, data.next_state).sort(descending=True)
        hits = data.terminal[order].cumsum(0)
        f1 = 2 * hits / (torch.arange(1, len(hits) + 1, device=hits.device) + data.terminal.sum())
        best = int(f1.argmax())
        after = logit[min(best + 1, len(logit) - 1)]
        self.offset.copy_(-(logit[best] + after) / 2)


Termination = KnownTermination | LearnedTermination | NoTermination


def build_termination(choice: str, facts: DataSpec, reader: Reader) -> Termination:
    """``choice``: learned, known or off. Raises ValueError for a task without a known rule."""
    terminals = facts.statistics.terminals
    if choice == "known":
        if not facts.statistics.obs_mean:
            raise ValueError("params.yaml: `world_model.termination: known` is a rule for vectors, and these logs hold "
                             "images alone; use `learned`")  # fmt: skip
        return KnownTermination((facts.task or "").split("-")[0].lower(), reader)
    if choice == "off" or terminals == 0:
        return NoTermination()
    return LearnedTermination(reader, facts.action_dim, terminals / facts.transitions)


def in_words(termination: Termination, facts: DataSpec) -> str:
    """What ends an imagined episode, for the report."""
    if isinstance(termination, KnownTermination):
        return f"known rule {termination.task}"
    if isinstance(termination, LearnedTermination):
        return "learned"
    return "off: by choice" if facts.statistics.terminals else "off: logs hold no terminal"


def privileged(termination: Termination, facts: DataSpec) -> list[str]:
    """What a model was told rather than taught."""
    known = isinstance(termination, KnownTermination)
    return [f"hand-written termination rule of {facts.task}"] if known else []


@torch.no_grad()
def termination_quality(model: "TrainableWorldModel", data: Transitions) -> dict[str, float | int | None]:
    """Precision and recall of "this step is terminal" on logged transitions; None where undefined."""
    rows = 512
    parts = [data[i : i + rows] for i in range(0, len(data), rows)]
    said = [model.termination.continue_prob(p.state, p.action, p.next_state) < 0.5 for p in parts]
    predicted, truth = torch.cat(said), data.terminal.bool()
    hits, claims, positives = int((predicted & truth).sum()), int(predicted.sum()), int(truth.sum())
    return {
        "precision": hits / claims if claims else None,
        "recall": hits / positives if positives else None,
        "positives": positives,
    }
