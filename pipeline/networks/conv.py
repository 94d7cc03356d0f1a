"""Convolutions that turn images into features and features into images.

Images are "N H W C" from 0 to 255, as they are logged; the encoder scales them to [-0.5, 0.5].
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

SMALLEST_MAP = 4  # pixels; no feature map has a smaller side


def image_sides(side: int) -> list[int]:
    """Side in pixels of the image and of every feature map; each layer halves it."""
    sides = [side]
    while sides[-1] // 2 >= SMALLEST_MAP:
        sides.append(sides[-1] // 2)
    return sides


class ImageEncoder(nn.Module):
    """Strided convolutions whose channels double as the side halves: "N H W C" -> "N E"."""

    def __init__(self, shape: list[int], depth: int) -> None:
        super().__init__()
        side, _, channels = shape
        sides = image_sides(side)
        layers: list[nn.Module] = []
        for i in range(len(sides) - 1):
            outputs = depth * 2**i
            # Without normalization, a small object on a plain background is ignored for thousands of steps.
            layers += [nn.Conv2d(channels, outputs, 4, stride=2, padding=1), nn.GroupNorm(1, outputs), nn.SiLU()]
            channels = outputs
        self.net = nn.Sequential(*layers)
        self.embed_dim: int = channels * sides[-1] ** 2

    def forward(self, images: Tensor) -> Tensor:
        """Images "N H W C" from 0 to 255 -> embeddings "N E"."""
        scaled = rearrange(images, "n h w c -> n c h w").float() / 255 - 0.5
        return self.net(scaled).flatten(1)


class ImageDecoder(nn.Module):
    """Transposed convolutions, the mirror of :class:`ImageEncoder`: "N F" -> "N H W C"."""

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
        """Features "N F" -> images "N H W C", trained to lie in [-0.5, 0.5] but not clamped."""
        channels, side = self.first
        smallest = rearrange(self.enter(features), "n (c h w) -> n c h w", c=channels, h=side)
        return rearrange(self.net(smallest), "n c h w -> n h w c")


class ImageTorso(nn.Module):
    """Convolutions over the flattened images at the end of a state: "B Z" -> "B F".

    ``images`` maps their names to their shapes "H W C", in the order of the state. The entries before them pass through
    unchanged; so does a state without images.
    """

    def __init__(self, state_dim: int, images: dict[str, list[int]], depth: int) -> None:
        super().__init__()
        self.shapes = list(images.values())
        pixels = [math.prod(shape) for shape in self.shapes]
        self.sizes = [state_dim - sum(pixels), *pixels]
        encoders = {key: ImageEncoder(shape, depth) for key, shape in images.items()}
        self.encoders = nn.ModuleDict(encoders)
        self.features_dim = self.sizes[0] + sum(encoder.embed_dim for encoder in encoders.values())

    def forward(self, state: Tensor) -> Tensor:
        """States "B Z" -> features "B F": the vectors, then the embedding of each image."""
        vectors, *flat = state.split(self.sizes, dim=-1)
        images = [x.unflatten(-1, shape) for x, shape in zip(flat, self.shapes, strict=True)]
        embeddings = [encoder(x) for encoder, x in zip(self.encoders.values(), images, strict=True)]
        return torch.cat([vectors, *embeddings], dim=-1)
