"""Convolutions that turn images into features and features into images.

Images are "N H W C" from 0 to 255, as they are logged, and are scaled to [-0.5, 0.5] where they are encoded.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

SMALLEST_MAP = 4  # convolutions halve an image until another halving would fall below this side


def image_sides(side: int) -> list[int]:
    """The side of every feature map on the way down from an image."""
    sides = [side]
    while sides[-1] // 2 >= SMALLEST_MAP:
        sides.append(sides[-1] // 2)
    return sides


class ImageEncoder(nn.Module):
    """Strided convolutions whose channels double as the side halves: "N H W C" -> "N E". Without normalization a small
    thing that moves before a plain background goes unnoticed for thousands of steps."""

    def __init__(self, shape: list[int], depth: int) -> None:
        super().__init__()
        side, _, channels = shape
        sides = image_sides(side)
        layers: list[nn.Module] = []
        for i in range(len(sides) - 1):
            before, channels = channels, depth * 2**i
            layers += [nn.Conv2d(before, channels, 4, stride=2, padding=1), nn.GroupNorm(1, channels), nn.SiLU()]
        self.net = nn.Sequential(*layers)
        self.embed_dim = channels * sides[-1] ** 2

    def forward(self, images: Tensor) -> Tensor:
        scaled = rearrange(images, "n h w c -> n c h w").float() / 255 - 0.5
        return self.net(scaled).flatten(1)


class ImageDecoder(nn.Module):
    """The way back by transposed convolutions: "N F" -> "N H W C" in [-0.5, 0.5] (not clamped)."""

    def __init__(self, features: int, shape: list[int], depth: int) -> None:
        super().__init__()
        side, _, channels = shape
        sides = image_sides(side)[::-1]
        widths = [depth * 2**i for i in range(len(sides) - 1)][::-1]
        self.first = (widths[0], sides[0])
        self.enter = nn.Linear(features, widths[0] * sides[0] ** 2)
        layers: list[nn.Module] = []
        for before, after, inputs, outputs in zip(sides, sides[1:], widths, [*widths[1:], channels], strict=False):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=after - 2 * before)]
            layers += [nn.GroupNorm(1, outputs), nn.SiLU()]
        self.net = nn.Sequential(nn.SiLU(), *layers[:-2])

    def forward(self, features: Tensor) -> Tensor:
        channels, side = self.first
        start = rearrange(self.enter(features), "n (c h w) -> n c h w", c=channels, h=side)
        return rearrange(self.net(start), "n c h w -> n h w c")


class ImageTorso(nn.Module):
    """Convolutions over the images that stand flat at the end of a state: "B Z" -> "B F". ``images`` maps their names
    to their shapes, in order; what stands before them passes through, and so does a state without images."""

    def __init__(self, state_dim: int, images: dict[str, list[int]], depth: int) -> None:
        super().__init__()
        self.shapes = list(images.values())
        pixels = [math.prod(shape) for shape in self.shapes]
        self.sizes = [state_dim - sum(pixels), *pixels]
        self.encoders = nn.ModuleDict({key: ImageEncoder(shape, depth) for key, shape in images.items()})
        self.features_dim: int = self.sizes[0] + sum(e.embed_dim for e in self.encoders.values())  # type: ignore[misc, assignment]

    def forward(self, state: Tensor) -> Tensor:
        vectors, *flat = state.split(self.sizes, dim=-1)
        encoded = zip(self.encoders.values(), flat, self.shapes, strict=True)
        return torch.cat([vectors, *(encoder(x.unflatten(-1, shape)) for encoder, x, shape in encoded)], dim=-1)
