"""``sweep --jobs N``: the seeds of all points side by side, before the sweep puts the points together.

DVC keeps the outputs of every stage, so what ran here is only checked out later. Each seed is an experiment of its own,
in a copy of the project and a process of its own: DVC cannot run the stages of one copy side by side.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipeline.cli.experiment import remove_experiment, run_experiment
from pipeline.stages.stage import sigterm_raises
from pipeline.tracking.stage_lines import duration

INTERVAL = 0.2  # seconds between two looks at the processes
LAST_OF_SEED = "evaluate_offline"  # the last stage that each seed has for itself


@dataclass(frozen=True)
class Task:
    """One seed of one point: an experiment up to the last stage of that seed."""

    name: str
    label: str
    settings: Mapping[str, str]
    seed: int

    def run(self, log: Path) -> None:
        """Run it, and leave only what DVC's cache keeps. Raises ValueError if a stage fails."""
        with sigterm_raises(), log.open("w", buffering=1) as file:
            settings = {**self.settings, "seeds": f"[{self.seed}]"}
            run_experiment(self.name, settings, lambda text: print(text, file=file), f"{LAST_OF_SEED}@{self.seed}")
        remove_experiment(self.name)


def run_tasks(tasks: Sequence[Task], jobs: int, logs: Path, say: Callable[[str], None]) -> None:
    """Run ``tasks``, ``jobs`` at a time; their output goes to files in ``logs``. One that fails is left to the sweep,
    which runs it again and says why. An interruption ends all that run."""
    logs.mkdir(parents=True, exist_ok=True)
    waiting, started = list(tasks), time.monotonic()
    running: list[tuple[Task, BaseProcess]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(task := waiting.pop(0), logs))
                say(f"{task.label}, seed {task.seed}: started")
            time.sleep(INTERVAL)
            for task, process in [pair for pair in running if not pair[1].is_alive()]:
                running.remove((task, process))
                end = "done" if process.exitcode == 0 else f"failed, see {logs / task.name}.log"
                done = len(tasks) - len(waiting) - len(running)
                progress = _progress(done, len(tasks), time.monotonic() - started, last=not waiting)
                say(f"{task.label}, seed {task.seed}: {end}; {progress}")
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.join()


def _start(task: Task, logs: Path) -> tuple[Task, BaseProcess]:
    # Spawned: a fork would share open files and threads of this process.
    process = multiprocessing.get_context("spawn").Process(target=task.run, args=(logs / f"{task.name}.log",))
    process.start()
    return task, process


def _progress(done: int, total: int, seconds: float, last: bool) -> str:
    """``last``: none waits, and how far those are that still run is not visible here."""
    left = "" if last else f", about {duration(seconds / done * (total - done))} left"
    return f"{done} of {total} in {duration(seconds)}{left}"
