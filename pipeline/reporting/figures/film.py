"""Films as animations: one real episode of the policy; and open-loop predictions of image observations, also as
strips."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.reporting.figures.style import COLORS, newest_frame
from pipeline.reporting.results import Arrays, Results

SIDE = 96  # smallest side of an image in pixels; smaller images are enlarged by an integer factor
GAP = 4  # pixels between images
LINE = 16  # height of a line of text in pixels
FRAME_MS = 120  # duration of a frame
LAST_MS = 1500  # of the last frame
PALETTE, SAMPLED = 64, 8  # colors of a policy's film, and the frames that they are chosen from

Film = NDArray[np.uint8]  # "F H W C"


def strips(latents: Arrays, keys: list[str]) -> list[dict[str, Film]]:
    """A strip for every image key and example window: truth, prediction, and their difference, where gray means no
    error and the range is halved to fit (after Hafner et al. 2019, arXiv:1811.04551)."""
    films = []
    for key in keys:
        for truth, predicted in zip(latents[f"true_{key}"], latents[f"predicted_{key}"], strict=True):
            difference = (predicted.astype(np.int16) - truth + 255) // 2
            films.append({"truth": truth, "prediction": predicted, "difference": difference.astype(np.uint8)})
    return films


def animation(results: Results) -> list[Image.Image] | None:
    """The strips of the first seed as frames of an animation; None without images or without latents."""
    latents, keys = results.first_latents, results.dataset.spec.image_keys
    if latents is None or not keys:
        return None
    films = strips(latents, keys)
    return [_frame(films, t, int(latents["context"])) for t in range(len(latents["kl"]))]


def policy_film(results: Results) -> list[Image.Image] | None:
    """A real episode of the policy in few colors, which keeps the page small; None if none was drawn."""
    if not results.film:
        return None
    frames = results.film["frames"]
    sample = frames[np.linspace(0, len(frames) - 1, SAMPLED).astype(int)]
    palette = Image.fromarray(np.concatenate(sample)).quantize(PALETTE)
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def save_animation(frames: list[Image.Image], path: Path) -> None:
    """Write an endless GIF that pauses on its last frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    duration = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)


def _frame(films: list[dict[str, Film]], t: int, context: int) -> Image.Image:
    """Frame ``t`` of all strips, one below the other, under a title and the names of the columns."""
    tiles = [[_tile(film[t]) for film in strip.values()] for strip in films]
    side = max(tile.height for row in tiles for tile in row)
    step = side + GAP
    page = Image.new("RGB", (GAP + step * len(tiles[0]), 2 * LINE + GAP + step * len(tiles)), "white")
    draw = ImageDraw.Draw(page)
    title = f"observed: step {t}" if t <= context else f"imagined: step +{t - context}"
    draw.text((GAP, 2), title, fill=COLORS["logged" if t <= context else "model"])
    for column, name in enumerate(films[0]):
        draw.text((GAP + step * column, LINE), name, fill="black")
    for row, line in enumerate(tiles):
        for column, tile in enumerate(line):
            page.paste(tile, (GAP + step * column, 2 * LINE + GAP + step * row))
    return page


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    factor = -(-SIDE // len(image))
    return (
        Image.fromarray(newest_frame(image)).convert("RGB").resize((factor * len(image),) * 2, Image.Resampling.NEAREST)
    )
