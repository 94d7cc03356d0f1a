"""Prediction of the end of an episode. It is learned from the logs by default. The known rules of some tasks are
privileged knowledge; ``KNOWN_RULES`` lists them all."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.statistics import DataSpec
from pipeline.networks.mlp import mlp
from pipeline.types import Observation, Transitions
from pipeline.world_models.results import TerminationQuality

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
    """Extracts the current observation from states "B Z"."""

    current_dim: int  # P

    def current_obs(self, state: Tensor) -> Tensor:
        """The input "B P" of a learned head."""

    def decode(self, state: Tensor) -> Observation:
        """The vector observations in the environment's own units."""


class KnownTermination(nn.Module):
    """The rule of a named task, applied to the decoded next observation."""

    def __init__(self, task: str, reader: Reader) -> None:
        super().__init__()
        if task not in KNOWN_RULES:
            raise ValueError(
                f"params.yaml: `world_model.termination: known` has no rule for `{task}`, "
                f"only for {', '.join(KNOWN_RULES)}; use `learned`"
            )
        self.task = task
        self.decode = reader.decode

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1 or 0, "...", from ``next_state`` "... Z" alone."""
        flat = torch.cat([v.flatten(next_state.dim() - 1) for v in self.decode(next_state).values()], dim=-1)
        return 1.0 - KNOWN_RULES[self.task](flat).to(flat.dtype)


class NoTermination(nn.Module):
    """Episodes never end, as in logs without a terminal."""

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1 for each state of ``next_state`` "... Z", "..."."""
        return torch.ones_like(next_state[..., 0])


class LearnedTermination(nn.Module):
    """A binary classifier of (state, action, next state).

    Terminals are rare, so the loss gives them a larger weight. The offset removes that weight from the logit again, and
    ``calibrate`` moves the decision threshold to the best F1. The input is the current observation only: with a history
    or a wide latent the classifier would memorize the few terminals.
    """

    def __init__(self, reader: Reader, action_dim: int, terminal_share: float) -> None:
        """``terminal_share`` is the share of terminal steps in the training split."""
        super().__init__()
        self.current_obs = reader.current_obs
        self.net = mlp([2 * reader.current_dim + action_dim, WIDTH, WIDTH, 1], nn.SiLU)
        positive_weight = math.sqrt((1 - terminal_share) / terminal_share)
        self.register_buffer("positive_weight", torch.tensor(positive_weight), persistent=False)
        self.register_buffer("offset", torch.tensor(-math.log(positive_weight)))
        self.positive_weight: Tensor
        self.offset: Tensor

    def forward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The weighted logit "..." of "this step is terminal", from states "... Z" and actions "... A"."""
        return self._logit(self.current_obs(state), action, self.current_obs(next_state))

    def loss(self, obs: Tensor, action: Tensor, next_obs: Tensor, terminal: Tensor) -> Tensor:
        """Weighted cross-entropy "..." of every step in nats, from results "... P" of ``current_obs``."""
        logit = self._logit(obs, action, next_obs)
        return F.binary_cross_entropy_with_logits(logit, terminal, pos_weight=self.positive_weight, reduction="none")

    def _logit(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return self.net(torch.cat([obs, action, next_obs], dim=-1)).squeeze(-1)

    def continue_prob(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Probability "..." that the episode continues after the step; 0.5 is the decision threshold."""
        return self.continue_prob_of(self.current_obs(state), action, self.current_obs(next_state))

    def continue_prob_of(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """The same from results "... P" of ``current_obs``."""
        return torch.sigmoid(-(self._logit(obs, action, next_obs) + self.offset))

    @torch.no_grad()
    def calibrate(self, held_out: list[Transitions], train: list[Transitions]) -> None:
        """Move the threshold (probability one half) to the logit with the best F1 on held-out batches, or on the
        training batches if no held-out step is terminal."""
        data = Transitions.cat(held_out if any(batch.terminal.any() for batch in held_out) else train)
        logit, order = self(data.state, data.action, data.next_state).sort(descending=True)
        hits = data.terminal[order].cumsum(0)
        f1 = 2 * hits / (torch.arange(1, len(hits) + 1, device=hits.device) + data.terminal.sum())
        best = int(f1.argmax())
        following = logit[min(best + 1, len(logit) - 1)]
        self.offset.copy_(-(logit[best] + following) / 2)


Termination = KnownTermination | LearnedTermination | NoTermination


def continue_along(termination: Termination, states: Tensor, action: Tensor) -> Tensor:
    """``continue_prob`` "B T" of the steps along ``states`` "B T+1 Z" by ``action`` "B T A"."""
    if isinstance(termination, LearnedTermination):
        obs = termination.current_obs(states)  # once for each state, which ends one step and starts the next
        return termination.continue_prob_of(obs[:, :-1], action, obs[:, 1:])
    return termination.continue_prob(states[:, :-1], action, states[:, 1:])


def build_termination(choice: str, data_spec: DataSpec, reader: Reader) -> Termination:
    """A new termination model; ``choice`` is learned, known or off. Raises ValueError for a known rule where the task
    has none or observations have no vectors."""
    terminals = data_spec.statistics.terminals
    if choice == "known":
        if not data_spec.statistics.obs_mean:
            raise ValueError(
                "params.yaml: `world_model.termination: known` is a rule for vectors, and these logs hold "
                "images alone; use `learned`"
            )
        return KnownTermination((data_spec.task or "").split("-")[0].lower(), reader)
    if choice == "off" or terminals == 0:
        return NoTermination()
    return LearnedTermination(reader, data_spec.action_dim, terminals / data_spec.transitions)


def in_words(termination: Termination, data_spec: DataSpec) -> str:
    """How imagined episodes end, for the report."""
    if isinstance(termination, KnownTermination):
        return f"known rule {termination.task}"
    if isinstance(termination, LearnedTermination):
        return "learned"
    return "off: by choice" if data_spec.statistics.terminals else "off: logs hold no terminal"


def privileged(termination: Termination, data_spec: DataSpec) -> list[str]:
    """Prior knowledge in ``termination`` that was not learned from data, for the report."""
    has_rule = isinstance(termination, KnownTermination)
    return [f"hand-written termination rule of {data_spec.task}"] if has_rule else []


@torch.no_grad()
def termination_quality(model: "TrainableWorldModel", data: Transitions) -> TerminationQuality:
    """Precision and recall of "this step is terminal" on logged transitions, and the number of terminals."""
    parts = data.split(512)
    decisions = [model.termination.continue_prob(p.state, p.action, p.next_state) < 0.5 for p in parts]
    predicted = torch.cat(decisions)
    terminal = data.terminal.bool()
    hits, predictions, positives = int((predicted & terminal).sum()), int(predicted.sum()), int(terminal.sum())
    return TerminationQuality(
        precision=hits / predictions if predictions else None,
        recall=hits / positives if positives else None,
        positives=positives,
    )
