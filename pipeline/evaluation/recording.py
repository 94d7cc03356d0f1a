"""Records episodes that run side by side, step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.episode import Episode
from pipeline.serving.agent import RawObservation

UNNAMED = "obs"  # key of an observation that is one array

Array = NDArray[Any]


class Recording:
    """Observations, actions, rewards and ends of environments "B ...", in the environment's own units."""

    def __init__(self, obs: RawObservation) -> None:
        self.obs = [_named(obs)]
        self.steps: list[tuple[Array, Array, Array]] = []  # action, reward, terminated

    def add(self, action: Array, obs: RawObservation, reward: Array, terminated: Array) -> None:
        """Add one step of every environment. Steps after an episode's end are dropped by :meth:`episodes`."""
        self.steps.append((action, reward, terminated))
        self.obs.append(_named(obs))

    def episodes(self, lengths: Array) -> list[Episode]:
        """The first ``lengths[i]`` steps of environment i, for every i."""
        action, reward, terminated = (np.stack(x, axis=1) for x in zip(*self.steps, strict=True))
        ends = terminated[np.arange(len(lengths)), lengths - 1]
        obs = {key: np.stack([step[key] for step in self.obs], axis=1) for key in self.obs[0]}
        return [
            Episode({k: v[i, : n + 1] for k, v in obs.items()}, action[i, :n], reward[i, :n], bool(ends[i]))
            for i, n in enumerate(lengths)
        ]


def _named(obs: RawObservation) -> dict[str, Array]:
    return dict(obs) if isinstance(obs, Mapping) else {UNNAMED: obs}
