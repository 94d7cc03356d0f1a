"""Draws an episode again from its actions. ``python -m pipeline.evaluation.drawing FOLDER`` is a process of its own,
because a renderer without a screen can crash or hang, and imports nothing slow."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.envs.permission import allow_packages
from pipeline.envs.wrappers import make

FRAMES = 100  # at most, evenly spaced over the episode
WIDE = 200  # pixels at most
TASK, ACTIONS, DRAWN = "task.json", "actions.npy", "frames.npy"  # in the folder: two inputs, the output


def draw(
    env_id: str, env_kwargs: dict[str, Any], actions: NDArray[Any], seed: int, max_steps: int | None
) -> NDArray[np.uint8]:
    """Frames "T H W 3" of the episode with that seed and these actions. Raises ValueError if the environment draws no
    images, and the errors of the renderer."""
    drawn_steps = {int(step) for step in np.linspace(0, len(actions), FRAMES).round()}
    env = make(env_id, {**env_kwargs, "render_mode": "rgb_array"}, max_steps)
    env.reset(seed=seed)
    frames = [_small(env.render())]
    for step, action in enumerate(actions, start=1):
        env.step(action)
        if step in drawn_steps:
            frames.append(_small(env.render()))
    env.close()
    return np.stack(frames)


def _small(frame: object) -> NDArray[np.uint8]:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
        raise ValueError("it renders no rgb_array")
    height, width = frame.shape[:2]
    if width <= WIDE:
        return frame
    image = Image.fromarray(frame).resize((WIDE, round(height * WIDE / width)), Image.Resampling.BOX)
    return np.asarray(image)


def main(folder: Path) -> None:
    """Draw the episode described in ``folder``; an error goes to stderr as one line."""
    task = json.loads((folder / TASK).read_text())
    allow_packages(task.pop("packages", []))
    try:
        frames = draw(actions=np.load(folder / ACTIONS), **task)
    except Exception as error:  # renderers raise errors without a common base class
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
    np.save(folder / DRAWN, frames)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
