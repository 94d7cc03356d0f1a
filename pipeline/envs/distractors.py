"""Visual distractors: task-irrelevant pixels in image observations, to test robustness. The reset seed seeds them.

A distractor turns a rendered frame "h w 3" into an image "S S 3". No part of the task is hidden.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
TURNS = 1.5  # maximum number of periods of the background's color wave across the image
SPEED = 0.15  # maximum speed of that wave, in radians per step


def shrink(frame: Pixels, size: int) -> Pixels:
    """Resize ``frame`` "h w 3" or "h w" to ``size`` pixels a side; each pixel is the mean of the area it covers."""
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BOX))


class Plain:
    """No distractor: the resized frame."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size

    def __call__(self, frame: Pixels) -> Pixels:
        return shrink(frame, self.size)


class NoiseBorder:
    """A border of noise around a smaller picture of the task. The noise is new at each step; the border's width is an
    eighth of the image."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.rng = rng
        self.width = size // 8

    def __call__(self, frame: Pixels) -> Pixels:
        image = self.rng.integers(0, 256, (self.size, self.size, 3), np.uint8)
        inside = slice(self.width, self.size - self.width)
        image[inside, inside] = shrink(frame, self.size - 2 * self.width)
        return image


class Background:
    """A slowly moving wave of light colors in place of the background, which is every pixel of the corner's color."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.t = 0
        self.phase = rng.uniform(0, 2 * np.pi, 3)
        self.speed = rng.uniform(-SPEED, SPEED, 3)
        turns = rng.uniform(-TURNS, TURNS, (2, 3))
        down, across = np.mgrid[:size, :size] / size
        self.angle = 2 * np.pi * (down[..., None] * turns[0] + across[..., None] * turns[1])  # "S S 3"

    def __call__(self, frame: Pixels) -> Pixels:
        corner = frame[0, 0].astype(float)
        background = 255 * (frame == frame[0, 0]).all(axis=-1).astype(np.uint8)
        share = shrink(background, self.size)[..., None] / 255  # share of background in each pixel
        wave = 191 + 64 * np.sin(self.angle + self.phase + self.speed * self.t)  # light, so that the task stands out
        self.t += 1
        image = shrink(frame, self.size) + share * (wave - corner)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


DISTRACTORS: dict[str, type[Plain] | type[NoiseBorder] | type[Background]] = {
    "noise_border": NoiseBorder,
    "background": Background,
}
