"""What a linear regression makes of the logs: the least that a world model must beat."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from torch import Tensor

from pipeline.encoders.statistics import Statistics

RIDGE = 1e-6  # share of the inputs' variance that is added to it: collinear features must not blow up


class LinearBaseline:
    """Change of the observation and reward as a linear function of observation and action (ridge regression, closed
    form), of raw vector observations and in their units."""

    def __init__(self, train: dict[str, Tensor], statistics: Statistics) -> None:
        """``train``: obs, next_obs "N O", action "N A", reward "N"."""
        self.mean, self.std = np.array(statistics.obs_mean), np.array(statistics.obs_std)
        self.low, self.high = torch.tensor(statistics.obs_min), torch.tensor(statistics.obs_max)
        change = (train["next_obs"].double() - train["obs"].double()).numpy() / self.std
        targets = np.concatenate([change, train["reward"].double().numpy()[:, None]], axis=1)
        self.fit = Ridge(alpha=RIDGE * len(targets)).fit(self._inputs(train["obs"], train["action"]), targets)

    def step(
        self, obs: Annotated[Tensor, "B O"], action: Annotated[Tensor, "B A"]
    ) -> tuple[Annotated[Tensor, "B O"], Annotated[Tensor, "B"]]:
        """The next observation, kept within the logged range as a world model's is, and the reward."""
        out = self.fit.predict(self._inputs(obs, action))
        change, reward = torch.from_numpy(out[:, :-1] * self.std).to(obs.dtype), torch.from_numpy(out[:, -1])
        return (obs + change).clamp(self.low, self.high), reward.to(obs.dtype)

    def rollout(
        self, obs: Annotated[Tensor, "B O"], action: Annotated[Tensor, "B H A"]
    ) -> tuple[Annotated[Tensor, "B H O"], Annotated[Tensor, "B H"]]:
        """Step after step from its own predictions."""
        steps = []
        for action_t in action.unbind(1):
            obs, reward = self.step(obs, action_t)
            steps.append((obs, reward))
        seen, rewards = zip(*steps, strict=True)
        return torch.stack(seen, 1), torch.stack(rewards, 1)

    def _inputs(self, obs: Tensor, action: Tensor) -> NDArray[np.float64]:
        return np.concatenate([(obs.double().numpy() - self.mean) / self.std, action.double().numpy()], axis=1)
