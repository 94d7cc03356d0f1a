"""Linear regression on the logs: the baseline that a world model must at least beat."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.encoders.statistics import Statistics

RIDGE = 1e-6  # share of the inputs' variance that is added to it, so that collinear features stay finite


class LinearBaseline:
    """Predicts the change of raw vector observations and the reward as linear functions of observation and action, by
    ridge regression."""

    def __init__(self, train: dict[str, Tensor], statistics: Statistics) -> None:
        """Fit to ``train``: obs, next_obs "N O", action "N A", reward "N"."""
        self.mean = np.array(statistics.obs_mean)
        self.std = np.array(statistics.obs_std)
        self.low = torch.tensor(statistics.obs_min)
        self.high = torch.tensor(statistics.obs_max)
        change = (train["next_obs"].double() - train["obs"].double()).numpy() / self.std
        targets = np.concatenate([change, train["reward"].double().numpy()[:, None]], axis=1)
        from sklearn.linear_model import Ridge  # slow to import

        self.fit = Ridge(alpha=RIDGE * len(targets)).fit(self._inputs(train["obs"], train["action"]), targets)

    def step(
        self, obs: Annotated[Tensor, "B O"], action: Annotated[Tensor, "B A"]
    ) -> tuple[Annotated[Tensor, "B O"], Annotated[Tensor, "B"]]:
        """The next observation, clamped to the logged range as a world model's is, and the reward."""
        out = self.fit.predict(self._inputs(obs, action))
        change = torch.from_numpy(out[:, :-1] * self.std).to(obs.dtype)
        reward = torch.from_numpy(out[:, -1]).to(obs.dtype)
        return (obs + change).clamp(self.low, self.high), reward

    def rollout(
        self, obs: Annotated[Tensor, "B O"], action: Annotated[Tensor, "B H A"]
    ) -> tuple[Annotated[Tensor, "B H O"], Annotated[Tensor, "B H"]]:
        """Observations and rewards of H steps, each from the prediction of the step before."""
        steps = []
        for action_t in action.unbind(1):
            obs, reward = self.step(obs, action_t)
            steps.append((obs, reward))
        observations, rewards = zip(*steps, strict=True)
        return torch.stack(observations, 1), torch.stack(rewards, 1)

    def _inputs(self, obs: Tensor, action: Tensor) -> NDArray[np.float64]:
        return np.concatenate([(obs.double().numpy() - self.mean) / self.std, action.double().numpy()], axis=1)
