"""A task whose observations and actions have the form of prepared datasets."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from pipeline.envs.action_forms import action_form
from pipeline.envs.spaces import ObsPart, obs_parts

Info = dict[str, Any]


class Prepared(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A task seen and driven through :mod:`pipeline.envs.spaces` and :mod:`pipeline.envs.action_forms`.

    ``keys`` are the observations to keep, by their dotted names; None: all. ``flatten`` puts all vectors into one, in
    the order of Gymnasium's FlattenObservation. ``amounts`` takes discrete numbers as amounts. Raises ValueError for
    spaces without a prepared form.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        flatten: bool = False,
        amounts: bool = False,
        keys: list[str] | None = None,
    ) -> None:
        super().__init__(env)
        self.parts = obs_parts(env.observation_space, keys)
        self.form = action_form(env.action_space, amounts)
        self.flatten = flatten
        self.observation_space = _flat(self.parts) if flatten else _named(self.parts)
        self.action_space = self.form.space

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """As in Gymnasium; ``info["state"]`` is the task's own observation."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._observation(obs), {"state": obs, **info}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Info]:
        """As in Gymnasium; ``info["state"]`` is the task's own observation."""
        obs, reward, terminated, truncated, info = self.env.step(self.form.restore(action))
        return self._observation(obs), reward, terminated, truncated, {"state": obs, **info}

    def _observation(self, obs: Any) -> Any:
        arrays = {part.name: part.convert(part.of(obs)[None])[0] for part in self.parts}
        if self.flatten:
            return np.concatenate(list(arrays.values()))
        return arrays if isinstance(self.observation_space, Dict) else next(iter(arrays.values()))


def _named(parts: list[ObsPart]) -> Dict | Box:
    """The space of the parts by name; of a single part without a name, its own."""
    if len(parts) == 1 and not parts[0].path:
        return parts[0].prepared
    return Dict({part.name: part.prepared for part in parts})


def _flat(parts: list[ObsPart]) -> Box:
    if images := [part.name for part in parts if part.is_image]:
        raise ValueError(f"flatten: `{images[0]}` is an image; images have no place in a vector")
    low, high = (np.concatenate([side(part.prepared) for part in parts]) for side in (_low, _high))
    return Box(low, high, dtype=np.result_type(*(part.prepared.dtype for part in parts)).type)


def _low(space: Box) -> Any:
    return space.low


def _high(space: Box) -> Any:
    return space.high
