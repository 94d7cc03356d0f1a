"""The encoder for delays and hidden quantities: the last few steps beside the current observation."""

from typing import Annotated

import torch
from einops import rearrange
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.types import Observation
from pipeline.validation import OPTIONS, Int

MAX_HISTORY = 100  # steps; longer dependence needs a recurrent model
History = Annotated[Int, Field(ge=0, le=MAX_HISTORY)]  # steps before the present one, in options


@dataclass(frozen=True, config=OPTIONS)
class HistoryConfig:
    """Options of :class:`HistoryEncoder`."""

    history: Annotated[Int, Field(ge=1, le=MAX_HISTORY)] = 1  # steps before the present one


class HistoryEncoder(nn.Module):
    """The state "B Z" is the normalized observation, then the last ``history`` pairs of an action and the change of
    observation that followed it, the newest first. A process of order ``history`` + 1 is Markov in this state.

    The current observation and the changes determine all past observations of the window. Each change is divided by the
    standard deviation of one-step changes in the logs, because it can be much smaller than the value itself. Changes
    cover only the features that steps change and the exogenous ones. At the start of an episode changes and actions are
    zero.
    """

    Config = HistoryConfig
    stateful = True

    def __init__(
        self, config: HistoryConfig, obs_shapes: dict[str, list[int]], statistics: Statistics, action_dim: int
    ) -> None:
        super().__init__()
        self.config = config
        self.standard = StandardEncoder(obs_shapes, statistics)
        self.action_dim = action_dim
        self.current_dim = self.standard.state_dim
        moving = [*statistics.changing, *statistics.exogenous]
        self.pair_dim = action_dim + len(moving)
        self.state_dim = self.current_dim + config.history * self.pair_dim
        scale = [*statistics.delta_std, *statistics.exogenous_delta_std]
        self.register_buffer("moving", torch.tensor(moving, dtype=torch.long), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.moving: Tensor
        self.scale: Tensor

    @classmethod
    def from_data(cls, config: HistoryConfig, data: DataSpec) -> "HistoryEncoder":
        """The encoder for logs like ``data``."""
        return cls(config, data.obs_shapes, data.statistics, data.action_dim)

    def initial(self, batch: int) -> Tensor:
        """Zeros "B Z"; the first observation of an episode replaces them."""
        return torch.zeros(batch, self.state_dim, device=self.moving.device)

    def observe(self, state: Tensor, action: Tensor, obs: Observation, first: Tensor) -> Tensor:
        """The state "B Z" after ``action`` "B A" in ``state`` led to ``obs``; where ``first`` "B" is 1.0, an empty
        history."""
        current = self.standard.encode(self.standard.flat(obs))
        restarted = F.pad(current, (0, self.state_dim - self.current_dim))
        return torch.where(first.bool()[:, None], restarted, self.advance(state, action, current))

    def current_obs(self, state: Tensor) -> Tensor:
        """The normalized observation "... O" in states "... Z"."""
        return state[..., : self.current_dim]

    def advance(self, state: Tensor, action: Tensor, current: Tensor) -> Tensor:
        """The state "... Z" after ``action`` "... A" in ``state`` "... Z" led to the normalized observation ``current``
        "... O". The oldest pair is dropped."""
        newer_pairs = state[..., self.current_dim : self.state_dim - self.pair_dim]
        return torch.cat([current, action, self._change(self.current_obs(state), current), newer_pairs], dim=-1)

    def _change(self, before: Tensor, after: Tensor) -> Tensor:
        """Scaled change of the moving features between normalized observations "... O"."""
        return (after - before)[..., self.moving] / self.scale

    def decode(self, state: Tensor) -> Observation:
        """The current observations in states "... Z", in the log's own units."""
        return self.standard.decode(self.current_obs(state))

    def encode_episodes(self, obs: Observation, action: Tensor, age: Tensor) -> Tensor:
        """States "R Z" of the rows "R ..." of whole episodes that follow each other. ``age`` "R", int64, counts the
        steps since the start of a row's episode."""
        current = self.standard.encode(self.standard.flat(obs))
        lags = 1 + torch.arange(self.config.history, device=age.device)
        rows = torch.arange(len(age), device=age.device)[:, None] - torch.minimum(age[:, None], lags)
        step_pairs = torch.cat(
            [action, self._change(current, current.roll(-1, 0))], dim=-1
        )  # of the step from each row
        within_episode = (age[:, None] >= lags)[..., None]
        pairs = torch.where(within_episode, step_pairs[rows], 0.0)
        return torch.cat([current, rearrange(pairs, "r k p -> r (k p)")], dim=-1)


def vector_encoder(
    history: int, obs_shapes: dict[str, list[int]], statistics: Statistics, action_dim: int
) -> StandardEncoder | HistoryEncoder:
    """The encoder of vector observations with ``history`` past steps; 0 gives the standard encoder. Raises ValueError
    when ``history`` is out of range."""
    if history == 0:
        return StandardEncoder(obs_shapes, statistics)
    return HistoryEncoder(HistoryConfig(history), obs_shapes, statistics, action_dim)
