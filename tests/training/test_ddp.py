"""Two processes fit the world model that one would."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

ROOT = Path(__file__).parents[2]
SECONDS = 120  # how long a rank may take to start
GONE = {"starting": 60, "training": 15}  # seconds until the other rank has to be gone; at the start it still imports


def start(name: str, folder: Path, devices: int, *more: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    command = [sys.executable, str(ROOT / "tests/ddp_worker.py"), name, str(devices), str(folder), *more]
    ranked = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {k: v for k, v in os.environ.items() if k not in ranked} | {"PYTHONPATH": str(ROOT)}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


@pytest.fixture(scope="module", params=["gaussian_ensemble", "rssm"])
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process, and each of two ranks, arrived at."""
    folder = tmp_path_factory.mktemp("ddp")
    running = {name: start(request.param, folder / name, devices) for name, devices in (("one", 1), ("two", 2))}
    for name, process in running.items():
        assert process.wait(SECONDS) == 0, (folder / name / "log").read_text()[-2000:]
    files = {"one": "one/rank-0.pt", "rank 0": "two/rank-0.pt", "rank 1": "two/rank-1.pt"}
    return {name: torch.load(folder / file, weights_only=True) for name, file in files.items()}


def test_gradient_of_a_global_batch_is_the_single_process_gradient(arrived: dict[str, Any]) -> None:
    one = arrived["one"]["gradients"]
    assert max(float(g.abs().max()) for g in one.values()) > 0.01
    for rank in ("rank 0", "rank 1"):
        assert arrived[rank]["gradients"].keys() == one.keys()
        for name, gradient in arrived[rank]["gradients"].items():
            torch.testing.assert_close(gradient, one[name], rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_ranks_end_with_the_same_weights_and_decisions(arrived: dict[str, Any]) -> None:
    first, second = arrived["rank 0"], arrived["rank 1"]
    for state in ("last", "best"):
        for name, weight in first[state].items():
            assert torch.equal(weight, second[state][name]), f"{state}.{name}"
    assert torch.equal(first["best_scores"], second["best_scores"])
    held_out = [[{k: v for k, v in row.items() if "held_out" in k} for row in x["history"]] for x in (first, second)]
    assert held_out[0] == held_out[1]
    assert len(held_out[0][0]) > 3


def test_held_out_error_is_that_of_one_process(arrived: dict[str, Any]) -> None:
    one, two = arrived["one"], arrived["rank 0"]
    assert len(one["history"]) == len(two["history"])
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a["updates"] == b["updates"]
        for key in (k for k in a if "held_out" in k):
            assert b[key] == pytest.approx(a[key], rel=1e-2, abs=1e-2), key
    assert two["elites"] == one["elites"]


def test_threads_of_a_rank_are_those_of_the_params(arrived: dict[str, Any]) -> None:
    assert [x["threads"] for x in arrived.values()] == [1, 1, 1]


@pytest.mark.parametrize("moment", ["starting", "training"])
def test_no_rank_outlives_the_one_that_was_killed(moment: str, tmp_path: Path) -> None:
    folder = tmp_path / "endless"
    process = start("gaussian_ensemble", folder, 2, "endless")
    main = psutil.Process(process.pid)
    others: list[psutil.Process] = []

    def reached() -> bool:
        others[:] = main.children()
        trained = all((folder / f"training-{rank}").exists() for rank in (0, 1))
        return len(others) == 1 and (moment == "starting" or trained)

    try:
        assert wait_for(reached, SECONDS), (folder / "log").read_text()[-2000:]
        process.kill()  # SIGKILL
        process.wait()
        assert wait_for(lambda: not alive(others[0]), GONE[moment])
    finally:
        process.kill()
        for other in others:
            if alive(other):
                other.kill()


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
