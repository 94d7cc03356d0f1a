"""Linear regression on the logs: the baseline that a world model must at least beat."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.encoders.statistics import Statistics, measured_features

RIDGE = 1e-6  # share of the inputs' variance that is added to it, so that collinear features stay finite


class LinearBaseline:
    """Predicts the change of raw vector observations and the reward as linear functions of observation and action, by
    ridge regression. A flagged feature is fitted on the steps after which it was measured."""

    def __init__(self, train: dict[str, Tensor], statistics: Statistics) -> None:
        """Fit to ``train``: obs, next_obs "N O", action "N A", reward "N"."""
        self.mean = np.array(statistics.obs_mean)
        self.std = np.array(statistics.obs_std)
        self.low = torch.tensor(statistics.obs_min)
        self.high = torch.tensor(statistics.obs_max)
        change = (train["next_obs"].double() - train["obs"].double()).numpy() / self.std
        targets = np.concatenate([change, train["reward"].double().numpy()[:, None]], axis=1)
        from sklearn.linear_model import Ridge  # slow to import

        inputs, alpha = self._inputs(train["obs"], train["action"]), RIDGE * len(targets)
        self.fit = Ridge(alpha=alpha).fit(inputs, targets)
        measured = measured_features(train["next_obs"], statistics.flags).bool().numpy()
        self.flagged = {
            i: Ridge(alpha=alpha).fit(inputs[measured[:, i]], change[measured[:, i], i])
            for i in statistics.flags
            if measured[:, i].any()
        }
        self.statistics = statistics

    def step(
        self, obs: Annotated[Tensor, "B O"], action: Annotated[Tensor, "B A"]
    ) -> tuple[Annotated[Tensor, "B O"], Annotated[Tensor, "B"]]:
        """The next observation, clamped to the logged range as a world model's is, and the reward."""
        inputs = self._inputs(obs, action)
        out = self.fit.predict(inputs)
        for i, fit in self.flagged.items():
            out[:, i] = fit.predict(inputs)
        change = torch.from_numpy(out[:, :-1] * self.std).to(obs.dtype)
        reward = torch.from_numpy(out[:, -1]).to(obs.dtype)
        return (obs + change).clamp(self.low, self.high), reward

    def rollout(
        self, truth: Annotated[Tensor, "B H+1 O"], action: Annotated[Tensor, "B H A"]
    ) -> tuple[Annotated[Tensor, "B H O"], Annotated[Tensor, "B H"]]:
        """Observations and rewards of H steps from the first observation of ``truth``, each from the prediction of the
        step before. Exogenous values are those of ``truth``, and a value that was not measured is held."""
        steps = []
        obs, given = truth[:, 0], self.statistics.exogenous
        for t, action_t in enumerate(action.unbind(1), 1):
            predicted, reward = self.step(obs, action_t)
            predicted[:, given] = truth[:, t, given]
            obs = torch.where(measured_features(predicted, self.statistics.flags).bool(), predicted, obs)
            steps.append((obs, reward))
        observations, rewards = zip(*steps, strict=True)
        return torch.stack(observations, 1), torch.stack(rewards, 1)

    def _inputs(self, obs: Tensor, action: Tensor) -> NDArray[np.float64]:
        return np.concatenate([(obs.double().numpy() - self.mean) / self.std, action.double().numpy()], axis=1)
