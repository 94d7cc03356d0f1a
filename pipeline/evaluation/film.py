"""A film of one real episode of a policy."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.spec import DatasetSpec
from pipeline.envs.permission import allowed_packages
from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.drawing import ACTIONS, DRAWN, TASK
from pipeline.evaluation.episodes import ArrayAgent, run_episodes

SECONDS = 120  # after which drawing is given up


def film_of(agent: ArrayAgent, spec: DatasetSpec, config: EvaluationConfig) -> dict[str, NDArray[Any]]:
    """``frames`` uint8 "T H W 3" of the first evaluation episode of ``agent``, its ``steps`` and ``episode_return``.

    Raises ValueError that says in one line why there is none; a renderer that crashes or hangs does no more.
    """
    assert spec.env_id is not None
    results = run_episodes(
        agent, spec.env_id, spec.env_kwargs, episodes=1, seed=config.seed, max_steps=config.max_steps, record=True
    )
    task = {
        "env_id": spec.env_id,
        "env_kwargs": spec.env_kwargs,
        "seed": config.seed,
        "max_steps": config.max_steps,
        "packages": allowed_packages(),
    }
    frames = _drawn(task, results.recorded[0].action)
    return {"frames": frames, "steps": results.lengths[0], "episode_return": results.returns[0]}


def _drawn(task: dict[str, Any], actions: NDArray[Any]) -> NDArray[np.uint8]:
    """The frames of the episode, drawn in another process."""
    with TemporaryDirectory() as folder:
        (Path(folder) / TASK).write_text(json.dumps(task))
        np.save(Path(folder) / ACTIONS, actions)
        command = [sys.executable, "-m", "pipeline.evaluation.drawing", folder]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=_environment())
        except subprocess.TimeoutExpired:
            raise ValueError(f"drawing {task['env_id']} took more than {SECONDS} seconds") from None
        if ended.returncode:
            reason = (ended.stderr.strip().splitlines() or [f"the renderer ended with {ended.returncode}"])[-1]
            raise ValueError(f"{task['env_id']} cannot be drawn here: {reason}")
        frames: NDArray[np.uint8] = np.load(Path(folder) / DRAWN)
        return frames


def _environment() -> dict[str, str]:
    """Variables of the process that draws: it imports what this one can, and without a screen MuJoCo draws by EGL."""
    screen = sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
    defaults = {} if screen else {"MUJOCO_GL": "egl"}
    return {**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
