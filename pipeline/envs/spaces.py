"""The form that observations and actions of any Gymnasium space have in prepared datasets, and the way back.

Nested observations become vectors and images with dotted names; a bare vector is called ``state``, a bare image
``pixels``. Discrete and MultiDiscrete values become one feature for each value (one-hot), MultiBinary values 0/1
features. Stacked frames and images with the channels first become images [side, side, channels]. Actions become one
vector, or one choice among all combinations.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange
from gymnasium import Space
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

from pipeline.envs.registration import CHANNELS, SIDES

Array = NDArray[Any]
MOST_FEATURES = 1024  # of an observation that is no plain vector: more would be an image or an index without order
SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of them"


class UnsupportedError(ValueError):
    """An observation whose space has no prepared form."""


@dataclass(frozen=True)
class ObsPart:
    """One array of an observation: where it is in the space, and its form in prepared datasets."""

    path: tuple[str | int, ...]
    name: str
    space: "Space[Any]"
    prepared: Box  # the space of the prepared array: a vector or an image [H, W, C]
    convert: Callable[[Array], Array]  # arrays "N ..." of the space -> prepared arrays; raises ValueError
    names: list[str] | None = None  # of the features; None: they are numbered
    change: str | None = None  # what the conversion does, for a warning

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared array."""
        return self.prepared.shape

    @property
    def is_image(self) -> bool:
        """Whether the prepared array is an image."""
        return len(self.shape) == 3

    @property
    def features(self) -> list[str]:
        """A name for each number of a vector."""
        count = self.shape[0]
        return self.names or ([self.name] if count == 1 else [f"{self.name}[{i}]" for i in range(count)])

    def of(self, obs: Any) -> Array:
        """The array of this part in an observation, or in observations over time."""
        for key in self.path:
            obs = obs[key]
        return np.asarray(obs)


def obs_parts(space: "Space[Any]", keys: Collection[str] | None = None) -> list[ObsPart]:
    """The arrays of an observation, in Gymnasium's order; of those ``keys`` alone, if given. Raises ValueError, which
    starts with the name of the observation, for a space that has no prepared form and for keys that do not exist."""
    named = [(_name(path), path, leaf) for path, leaf in _leaves(space, ())]
    names = [name for name, _, _ in named]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"observation `{name}` exists twice; rename one of its parts")
    for key in keys or ():
        if key not in names:
            raise ValueError(f"observation `{key}` does not exist; name some of {', '.join(names)}")
    return [_part(leaf, path, name) for name, path, leaf in named if keys is None or name in keys]


def _name(path: tuple[str | int, ...]) -> str:
    """Keys joined by dots; a slash becomes a dot too, since prepared observations are files."""
    return ".".join(map(str, path)).replace("/", ".")


def _leaves(space: "Space[Any]", path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], "Space[Any]"]]:
    """The spaces within nested Dict and Tuple spaces, each with its place."""
    if isinstance(space, Dict | Tuple):
        items = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, part in items:
            yield from _leaves(part, (*path, key))
    else:
        yield path, space


def _part(space: "Space[Any]", path: tuple[str | int, ...], name: str) -> ObsPart:
    if isinstance(space, Box):
        return _box(space, path, name)
    if isinstance(space, Discrete | MultiDiscrete):
        return _one_hot(space, path, name or "state")
    if isinstance(space, MultiBinary):
        size = math.prod(space.shape)
        change = f"`{name or 'state'}` becomes {size} features, 0 or 1"
        return ObsPart(path, name or "state", space, _unit_box(size), lambda x: x.reshape(len(x), size), change=change)
    fix = f"supported are {SUPPORTED}"
    raise UnsupportedError(f"observation `{name or 'state'}` is {short(space)}; {fix}")


def _box(space: Box, path: tuple[str | int, ...], name: str) -> ObsPart:
    size = math.prod(space.shape)
    pattern = _image_pattern(space)
    if pattern is not None:
        shape = rearrange(np.empty((1, *space.shape), np.uint8), pattern).shape[1:]
        frame = Box(0, 255, shape, np.uint8)
        change = f"`{name or 'pixels'}` {list(space.shape)} becomes {list(shape)}, channels last"
        return ObsPart(
            path,
            name or "pixels",
            space,
            frame,
            lambda images: np.ascontiguousarray(rearrange(images, pattern)),
            change=change if shape != space.shape else None,
        )
    if len(space.shape) == 3 and size > MOST_FEATURES:  # refused as an image by the checks of images
        return ObsPart(path, name or "pixels", space, space, lambda x: x)
    if len(space.shape) > 1 and size > MOST_FEATURES:
        fix = f"at most {MOST_FEATURES} are read as a vector; store images as uint8 [side, side, channels]"
        raise ValueError(f"observation `{name or 'state'}` has {size} numbers of shape {list(space.shape)}; {fix}")
    flat = Box(space.low.ravel(), space.high.ravel(), dtype=space.dtype.type)
    flattened = f"`{name or 'state'}` {list(space.shape)} becomes {size} features" if len(space.shape) > 1 else None
    return ObsPart(path, name or "state", space, flat, lambda x: x.reshape(len(x), size), change=flattened)


def _image_pattern(space: Box) -> str | None:
    """How uint8 images, with channels last or first, grey or stacked frames, become [H, W, C]; None for no image."""
    shape, side = space.shape, SIDES[0]
    if space.dtype != np.uint8:
        return None
    if len(shape) == 2 and min(shape) >= side:
        return "n h w -> n h w 1"
    if len(shape) == 3 and min(shape[:2]) >= side and shape[2] in CHANNELS:
        return "n h w c -> n h w c"
    if len(shape) == 3 and min(shape[1:]) >= side and shape[0] in CHANNELS:
        return "n c h w -> n h w c"
    if len(shape) == 4 and min(shape[1:3]) >= side and shape[0] * shape[3] in CHANNELS:
        return "n k h w c -> n h w (k c)"
    return None


def _one_hot(space: Discrete | MultiDiscrete, path: tuple[str | int, ...], name: str) -> ObsPart:
    counts, starts = choices(space)
    size = int(sum(counts))
    if size > MOST_FEATURES:
        fix = f"at most {MOST_FEATURES} are read; store its parts, or what it stands for, as a vector"
        raise ValueError(f"observation `{name}` is {short(space)} and would be {size} features; {fix}")
    labels = [name] if isinstance(space, Discrete) else [f"{name}[{i}]" for i in range(len(counts))]
    values = [np.arange(start, start + count) for count, start in zip(counts, starts, strict=True)]
    names = [f"{label}={value}" for label, column in zip(labels, values, strict=True) for value in column]

    def convert(x: Array) -> Array:
        columns = x.reshape(len(x), len(counts)).T
        hot = [column[:, None] == value for column, value in zip(columns, values, strict=True)]
        if not all(column.any(axis=1).all() for column in hot):
            raise ValueError(f"observation `{name}` holds values outside {short(space)}")
        return np.concatenate(hot, axis=1).astype(np.float32)

    change = f"`{name}` becomes {size} features, one for each value"
    return ObsPart(path, name, space, _unit_box(size), convert, names, change)


def _unit_box(size: int) -> Box:
    return Box(0, 1, (size,), np.float32)


def choices(space: "Space[Any]") -> tuple[list[int], list[int]]:
    """Count and first number of each choice in a Discrete, MultiDiscrete or MultiBinary space."""
    if isinstance(space, Discrete):
        return [int(space.n)], [int(space.start)]
    if isinstance(space, MultiDiscrete):
        return space.nvec.ravel().tolist(), space.start.ravel().tolist()
    assert isinstance(space, MultiBinary)
    size = math.prod(space.shape)
    return [2] * size, [0] * size


def leaves(space: "Space[Any]") -> list["Space[Any]"]:
    """The spaces within nested Dict and Tuple spaces, in order."""
    return [leaf for _, leaf in _leaves(space, ())]


def values_of(space: "Space[Any]", value: Any) -> list[Array]:
    """The arrays of a nested value, in the order of :func:`leaves`."""
    if isinstance(space, Dict):
        return [array for key, part in space.spaces.items() for array in values_of(part, value[key])]
    if isinstance(space, Tuple):
        return [array for i, part in enumerate(space.spaces) for array in values_of(part, value[i])]
    return [np.asarray(value)]


def nested(space: "Space[Any]", arrays: Iterator[Array]) -> Any:
    """The inverse of :func:`values_of`."""
    if isinstance(space, Dict):
        return {key: nested(part, arrays) for key, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(nested(part, arrays) for part in space.spaces)
    return next(arrays)


def short(space: "Space[Any]") -> str:
    """A space in one short line, for messages."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else text[:77] + "..."
