"""What callers send to a policy, checked: observations and actions as numbers of the right shapes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pipeline.envs.action_space import Actions, DiscreteActions
from pipeline.serving.bundle import BundleSpec

RawObservation = NDArray[Any] | Mapping[str, NDArray[Any]]
BATCH, EPISODES = ("batch",), ("batch", "steps")  # the axes before those of one observation
LARGEST_REQUEST = 10_000  # observations that one request may hold: more would keep the other callers waiting


def observations(
    obs: object, spec: BundleSpec, axes: tuple[str, ...] = BATCH, most: int | None = None
) -> dict[str, Tensor]:
    """Observations by name as tensors, each ``axes`` and then the shape of one observation: float32, images uint8.

    Several vectors may be one array, side by side in the order of their sorted names. Raises ValueError for other names
    and shapes, none or more than ``most`` observations, what is not a number, and values that are not finite or beyond
    float32 (images: beyond 0 to 255).
    """
    shapes = spec.obs_shapes
    named = obs if isinstance(obs, Mapping) else _split(numbers("the observation", obs), shapes)
    if set(named) != set(shapes):
        raise ValueError(f"the policy expects observations {sorted(shapes)}, got {sorted(map(str, named))}")
    arrays = {key: numbers(f"observation `{key}`", named[key]) for key in shapes}
    for key, array in arrays.items():
        if array.ndim < len(axes) or list(array.shape[len(axes) :]) != list(shapes[key]):
            expected = ", ".join([*axes, *map(str, shapes[key])])
            raise ValueError(f"observation `{key}` has shape {array.shape}, expected ({expected})")
    counts = {key: array.shape[: len(axes)] for key, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"observations differ in their numbers of {' and '.join(axes)}: {counts}")
    count = math.prod(next(iter(counts.values())))
    if not count:
        raise ValueError("there are no observations; send at least one")
    if most is not None and count > most:
        raise ValueError(f"{count} observations are too many; send at most {most} in a request")
    kinds = {key: _pixels if len(shapes[key]) == 3 else _finite for key in shapes}
    # A copy, because torch warns of arrays that it must not write to, such as mapped logs.
    return {key: torch.tensor(kinds[key](f"observation `{key}`", array)) for key, array in arrays.items()}


def past_actions(action: object, actions: Actions, episodes: int, steps: int) -> Tensor:
    """The actions "B T A", float32 in [-1, 1] or one-hot, of ``episodes`` and ``steps`` (B, T), from those in the
    environment's units. Raises ValueError for another shape and for numbers that are no actions."""
    array = numbers("`action`", action)
    expected = (episodes, steps) if isinstance(actions, DiscreteActions) else (episodes, steps, actions.size)
    if array.shape != expected and not (array.size == 0 and steps == 0):
        raise ValueError(f"`action` has shape {array.shape}, expected {expected}: one action less than observations")
    if isinstance(actions, DiscreteActions):
        last = actions.start + actions.size - 1
        if not np.isin(array, np.arange(actions.start, last + 1)).all():
            raise ValueError(f"`action` must hold whole numbers from {actions.start} to {last}")
    return torch.from_numpy(_finite("`action`", actions.normalize(array.reshape(expected))))


def numbers(name: str, value: object) -> NDArray[Any]:
    """``value`` as an array of numbers. Raises ValueError for text, missing values and lists of different lengths."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is no array: its lists differ in length") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers alone, and no text, null or names")
    return array


def _finite(name: str, array: ArrayLike) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # the error says it
        single = np.asarray(array, np.float32)
    if not np.isfinite(single).all():
        raise ValueError(f"{name} holds values that are not finite, or too large for float32")
    return single


def _pixels(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 and not ((array >= 0) & (array <= 255) & (array == np.trunc(array))).all():
        raise ValueError(f"{name} is an image: its pixels must be whole numbers from 0 to 255")
    return np.asarray(array, np.uint8)


def _split(obs: NDArray[Any], shapes: Mapping[str, list[int]]) -> dict[str, NDArray[Any]]:
    """The observations by name, from one array. Raises ValueError for several vectors of another total size."""
    names = sorted(shapes)
    if len(names) == 1:
        return {names[0]: obs}
    sizes = [math.prod(shapes[name]) for name in names]
    if obs.shape[1:] != (sum(sizes),):
        shape = f"shape {obs.shape}, expected (batch, {sum(sizes)}): {', '.join(names)} side by side"
        raise ValueError(f"the observation has {shape}")
    return dict(zip(names, np.split(obs, np.cumsum(sizes)[:-1], axis=1), strict=True))
