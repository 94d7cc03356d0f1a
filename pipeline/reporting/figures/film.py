"""Open-loop films of image observations: strips of truth, prediction and difference, and the same as an animation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.reporting.figures.style import COLORS
from pipeline.reporting.results import Arrays, Results

SIDE = 96  # pixels a side, at least: smaller images are enlarged by a whole factor
GAP, LINE = 4, 16  # pixels between images, and of a line of text
FRAME_MS, LAST_MS = 120, 1500

Film = NDArray[np.uint8]  # "F H W C"


def strips(found: Arrays, keys: list[str]) -> list[dict[str, Film]]:
    """A strip for every image and example window: truth, prediction, and their difference, in which gray is no error
    and the full range is halved (after Hafner et al. 2019, arXiv:1811.04551)."""
    shown = []
    for key in keys:
        for truth, predicted in zip(found[f"true_{key}"], found[f"predicted_{key}"], strict=True):
            difference = (predicted.astype(np.int16) - truth + 255) // 2
            shown.append({"truth": truth, "prediction": predicted, "difference": difference.astype(np.uint8)})
    return shown


def animation(results: Results) -> list[Image.Image] | None:
    """The strips of the first seed as frames of an animation; None without images or without latents."""
    found, keys = results.first_latents, results.dataset.spec.image_keys
    if found is None or not keys:
        return None
    shown, context = strips(found, keys), int(found["context"])
    return [_frame(shown, t, context) for t in range(len(found["kl"]))]


def save_animation(frames: list[Image.Image], path: Path) -> None:
    """An endless GIF that rests on its last frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    duration = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)


def _frame(shown: list[dict[str, Film]], t: int, context: int) -> Image.Image:
    """One moment of all strips, one below the other, under the names of the columns and what the model sees."""
    tiles = [[_tile(film[t]) for film in strip.values()] for strip in shown]
    side = max(tile.height for row in tiles for tile in row)
    step = side + GAP
    page = Image.new("RGB", (GAP + step * len(tiles[0]), 2 * LINE + GAP + step * len(tiles)), "white")
    draw = ImageDraw.Draw(page)
    told = f"seen: step {t}" if t <= context else f"imagined: step +{t - context}"
    draw.text((GAP, 2), told, fill=COLORS["logged" if t <= context else "model"])
    for column, name in enumerate(shown[0]):
        draw.text((GAP + step * column, LINE), name, fill="black")
    for row, line in enumerate(tiles):
        for column, tile in enumerate(line):
            page.paste(tile, (GAP + step * column, 2 * LINE + GAP + step * row))
    return page


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    factor = -(-SIDE // len(image))
    return Image.fromarray(image.squeeze()).convert("RGB").resize((factor * len(image),) * 2, Image.Resampling.NEAREST)
