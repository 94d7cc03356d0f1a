"""The normalized targets of a Markov model: change of state and reward."""

import torch
from torch import Tensor, nn

from pipeline.encoders.statistics import Statistics
from pipeline.types import Transitions


class StepScale(nn.Module):
    """Converts steps to targets "... B D" and targets back to steps. States start with the normalized observation; what
    follows it, such as a history, is ignored."""

    def __init__(self, statistics: Statistics, clamp_margin: float) -> None:
        """Sampled states stay within the logged range, widened on both sides by ``clamp_margin`` times the range."""
        super().__init__()
        s = self.statistics = statistics
        low, high, mean, std = (torch.tensor(x) for x in (s.obs_min, s.obs_max, s.obs_mean, s.obs_std))
        scales = {
            "changing": torch.tensor(s.changing, dtype=torch.long),
            "target_mean": torch.tensor([*s.delta_mean, s.reward_mean]),
            "target_std": torch.tensor([*s.delta_std, s.reward_std]),
            "state_low": (low + -clamp_margin * (high - low) - mean) / std,
            "state_high": (high + clamp_margin * (high - low) - mean) / std,
        }
        for name, value in scales.items():
            self.register_buffer(name, value, persistent=False)
        self.changing: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor
        self.state_low: Tensor
        self.state_high: Tensor

    def targets(self, batch: Transitions) -> Tensor:
        """Normalized change of the changing state dimensions, then the reward: "... B D"."""
        delta = (batch.next_state - batch.state).index_select(-1, self.changing)
        return (torch.cat([delta, batch.reward[..., None]], dim=-1) - self.target_mean) / self.target_std

    def advance(self, obs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized observation "B O" and sampled target "B D" -> the next observation "B O" and reward "B", clamped
        to the logged range."""
        step = target * self.target_std + self.target_mean
        next_obs = obs.index_add(1, self.changing, step[:, :-1])
        next_obs = torch.clamp(next_obs, self.state_low, self.state_high)
        return next_obs, step[:, -1].clamp(self.statistics.reward_min, self.statistics.reward_max)
