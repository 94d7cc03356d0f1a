"""The filter of models and policies for delays and hidden quantities: the last few steps beside the present."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import Statistics
from pipeline.types import Observation

LONGEST = 100  # steps; what lies longer ago is a recurrent model's business


@dataclass(frozen=True)
class HistoryConfig:
    history: int = 1  # steps before the present one

    def __post_init__(self) -> None:
        if not 1 <= self.history <= LONGEST:
            raise ValueError(f"history {self.history} must lie between 1 and {LONGEST}")


class HistoryEncoder(nn.Module):
    """The state "B Z" is the normalized observation, then the last ``history`` pairs of an action and the change of
    the observation that followed, the newest first: a world of order k is Markov in it.

    With the present, changes tell all past observations. They have units of their own (the logs' spread of one-step
    changes, of the features that steps change), since what hardly moves in a step would drown in its own value. Where
    an episode starts, its first observation stands for those before it: no change, and actions are zero.
    """

    stateful = True

    def __init__(
        self, config: HistoryConfig, obs_shapes: dict[str, list[int]], statistics: Statistics, action_dim: int
    ) -> None:
        super().__init__()
        self.config = config
        self.standard = StandardEncoder(obs_shapes, statistics)
        self.action_dim, self.current_dim = action_dim, self.standard.state_dim
        self.pair_dim = action_dim + len(statistics.changing)
        self.state_dim = self.current_dim + config.history * self.pair_dim
        self.register_buffer("changing", torch.tensor(statistics.changing, dtype=torch.long), persistent=False)
        self.register_buffer("delta_std", torch.tensor(statistics.delta_std), persistent=False)
        self.changing: Tensor
        self.delta_std: Tensor

    def initial(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.state_dim, device=self.changing.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        present = self.standard.encode(self.standard.flat(obs))
        begun = F.pad(present, (0, self.state_dim - self.current_dim))
        return torch.where(first.bool()[:, None], begun, self.advance(state, action, present))

    def current_obs(self, state: Tensor) -> Tensor:
        """The normalized observation "... O" in states "... Z"."""
        return state[..., : self.current_dim]

    def advance(self, state: Tensor, action: Tensor, present: Tensor) -> Tensor:
        """The state "... Z" once ``action`` in ``state`` led to ``present`` "... O": the oldest pair makes room."""
        kept = state[..., self.current_dim : self.state_dim - self.pair_dim]
        return torch.cat([present, action, self._change(self.current_obs(state), present), kept], dim=-1)

    def _change(self, before: Tensor, after: Tensor) -> Tensor:
        """Between normalized observations "... O", of the features that change, in units of its own spread."""
        return (after - before)[..., self.changing] / self.delta_std

    def decode(self, state: Tensor) -> Observation:
        return self.standard.decode(self.current_obs(state))

    def encode_episodes(self, obs: Observation, action: Tensor, age: Tensor) -> Tensor:
        """States "R Z" of the rows "R ..." of whole episodes, one after the other; ``age`` "R" counts the steps since a
        row's episode began, int64."""
        present = self.standard.encode(self.standard.flat(obs))
        lags = 1 + torch.arange(self.config.history, device=age.device)
        rows = torch.arange(len(age), device=age.device)[:, None] - torch.minimum(age[:, None], lags)
        left = torch.cat([action, self._change(present, present.roll(-1, 0))], dim=-1)  # by the step out of each row
        real = (age[:, None] >= lags)[..., None]  # before an episode nothing was done
        pairs = torch.where(real, left[rows], 0.0)
        return torch.cat([present, rearrange(pairs, "r k p -> r (k p)")], dim=-1)


def vector_encoder(
    history: int, obs_shapes: dict[str, list[int]], statistics: Statistics, action_dim: int
) -> StandardEncoder | HistoryEncoder:
    """The filter of vectors that carries ``history`` steps; none of them is the standard encoder."""
    if history == 0:
        return StandardEncoder(obs_shapes, statistics)
    return HistoryEncoder(HistoryConfig(history), obs_shapes, statistics, action_dim)
