"""Seeds of a sweep side by side: as many as asked for, each in its own process, and none left behind."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipeline.cli.sweep import grid, tasks
from pipeline.cli.sweep_jobs import Task, run_tasks

PATIENCE = 120.0  # seconds to import Python's modules on a busy machine


@dataclass(frozen=True)
class Toy(Task):
    """A task without DVC. ``act`` is what it does: ``meet`` waits for the other one, ``fail``, or ``hang``."""

    folder: str = ""
    act: str = "meet"

    def run(self, log: Path) -> None:
        mark = Path(self.folder) / str(self.seed)
        mark.write_text(str(os.getpid()))
        log.write_text(self.act)
        if self.act == "fail":
            raise SystemExit(1)
        until = time.monotonic() + PATIENCE
        while self.act == "hang" or len(list(Path(self.folder).iterdir())) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)


def toys(folder: Path, *acts: str) -> list[Toy]:
    folder.mkdir()
    return [Toy(f"toy-{i}", "toy", {}, i, str(folder), act) for i, act in enumerate(acts)]


def test_two_seeds_run_at_a_time(tmp_path: Path) -> None:
    """Each waits for the other one, so neither could end alone."""
    lines: list[str] = []
    run_tasks(toys(tmp_path / "marks", "meet", "meet", "fail"), 2, tmp_path / "logs", lines.append)
    assert lines[:2] == ["toy, seed 0: started", "toy, seed 1: started"]
    assert sum(": done; " in line for line in lines) == 2
    failed = next(line for line in lines if "failed" in line)
    assert failed.startswith(f"toy, seed 2: failed, see {tmp_path}/logs/toy-2.log; ")
    assert lines[-1].partition("; ")[2].startswith("3 of 3 in ")
    assert (tmp_path / "logs/toy-0.log").read_text() == "meet"


def test_an_interruption_ends_all_that_run(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def interrupt(line: str) -> None:
        if line.startswith("toy, seed 1"):
            until = time.monotonic() + PATIENCE
            while len(list(marks.glob("*"))) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(toys(marks, "hang", "hang", "meet"), 2, tmp_path / "logs", interrupt)
    pids = [int(mark.read_text()) for mark in marks.iterdir()]
    assert len(pids) >= 1
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_each_seed_of_each_point_is_a_task() -> None:
    params = {"seeds": [0], "penalty": {"weight": 1}}
    made = list(tasks(grid(["penalty.weight=0.5,2", "seeds=3,4"]), params))
    assert [(task.settings["penalty.weight"], task.seed) for task in made] == [
        ("0.5", 3),
        ("0.5", 4),
        ("2", 3),
        ("2", 4),
    ]
    assert len({task.name for task in made}) == 4
    long = [f"penalty.weight={'0' * 200}{i}" for i in (1, 2)]
    assert len({next(iter(tasks(grid([axis]), params))).name for axis in long}) == 2
