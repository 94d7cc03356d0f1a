"""What an image shows beside its task, to test robustness: pixels that say nothing, seeded by the reset seed.

A distractor turns a rendered frame into an image; all of the task's own picture stays in it.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
TURNS = 1.5  # of a background's color wave across the image, at most
SPEED = 0.15  # radians a step by which that wave moves, at most


def shrink(frame: Pixels, size: int) -> Pixels:
    """The mean over the area that each of the ``size`` x ``size`` pixels covers; ``frame`` is "h w 3" or "h w"."""
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BOX))


class Plain:
    """The frame alone."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size

    def __call__(self, frame: Pixels) -> Pixels:
        return shrink(frame, self.size)


class NoiseBorder:
    """A frame of noise, new at each step, an eighth of the size wide; the task is shown inside it, smaller."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng, self.width = size, rng, size // 8

    def __call__(self, frame: Pixels) -> Pixels:
        image = self.rng.integers(0, 256, (self.size, self.size, 3), np.uint8)
        inside = slice(self.width, self.size - self.width)
        image[inside, inside] = shrink(frame, self.size - 2 * self.width)
        return image


class Background:
    """A slowly moving wave of light colors, wherever the frame has the color of its corner."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.t = size, 0
        self.phase, self.speed = rng.uniform(0, 2 * np.pi, 3), rng.uniform(-SPEED, SPEED, 3)
        turns = rng.uniform(-TURNS, TURNS, (2, 3))
        down, across = np.mgrid[:size, :size] / size
        self.place = 2 * np.pi * (down[..., None] * turns[0] + across[..., None] * turns[1])  # "S S 3"

    def __call__(self, frame: Pixels) -> Pixels:
        corner = frame[0, 0].astype(float)
        empty = 255 * (frame == frame[0, 0]).all(axis=-1).astype(np.uint8)
        share = shrink(empty, self.size)[..., None] / 255  # of each pixel that shows the corner's color
        wave = 191 + 64 * np.sin(self.place + self.phase + self.speed * self.t)  # light, so that the task stands out
        self.t += 1
        image = shrink(frame, self.size) + share * (wave - corner)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


DISTRACTORS: dict[str, type[Plain] | type[NoiseBorder] | type[Background]] = {
    "noise_border": NoiseBorder,
    "background": Background,
}
