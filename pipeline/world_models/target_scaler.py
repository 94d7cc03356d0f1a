"""What a Markov model predicts of a step: how the state changes, and the reward, normalized."""

import torch
from torch import Tensor, nn

from pipeline.encoders.statistics import Statistics
from pipeline.types import Transitions


class StepScale(nn.Module):
    """Turns steps into targets "... B D" and targets back into steps. States are normalized observations; those of
    a batch may hold more behind them."""

    def __init__(self, statistics: Statistics, clamp_margin: float) -> None:
        """``clamp_margin`` is the share of the logged range by which drawn states may leave it."""
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
        """Normalized change of the state dimensions that steps change, and reward: "... B D"."""
        delta = (batch.next_state - batch.state)[..., self.changing]
        return (torch.cat([delta, batch.reward[..., None]], dim=-1) - self.target_mean) / self.target_std

    def advance(self, present: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized observation "B O" and what was drawn "B D" -> the next "B O" and reward "B", in logged range."""
        raw = target * self.target_std + self.target_mean
        moved = present.index_add(1, self.changing, raw[:, :-1])
        # torch.clamp between tensors: a drawn step beyond what was ever logged is the model's error, not a discovery.
        moved = torch.clamp(moved, self.state_low, self.state_high)
        return moved, raw[:, -1].clamp(self.statistics.reward_min, self.statistics.reward_max)
