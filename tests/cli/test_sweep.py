"""``python -m pipeline sweep``: the grid, what is refused before anything runs, and the display."""

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from rich.console import Console

from pipeline.cli.experiment import _logs, _run
from pipeline.cli.preset import apply_preset
from pipeline.cli.sweep import check_points, grid, run_sweep
from pipeline.cli.sweep_progress import SweepProgress
from pipeline.params import read_params, with_settings


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text("seeds: [0]\n")
    apply_preset("ci", file)
    return read_params(file)


def test_every_combination_is_a_point_and_seeds_are_one_value() -> None:
    points = grid(["penalty.name=max_aleatoric,disagreement", "penalty.weight=0.5,2", "seeds=0,1"])
    assert [point.label for point in points] == [
        "penalty.name=max_aleatoric, penalty.weight=0.5, seeds=0,1",
        "penalty.name=max_aleatoric, penalty.weight=2, seeds=0,1",
        "penalty.name=disagreement, penalty.weight=0.5, seeds=0,1",
        "penalty.name=disagreement, penalty.weight=2, seeds=0,1",
    ]
    assert points[0].settings["seeds"] == "[0,1]"
    assert points[0].name == "sweep-penalty.name=max_aleatoric_penalty.weight=0.5_seeds=0+1"


def test_lists_are_values_and_equal_values_count_once() -> None:
    points = grid(["policy.hidden=[64,64],[256,256]", "penalty.weight=1,1"])
    assert [point.settings["policy.hidden"] for point in points] == ["[64,64]", "[256,256]"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["penalty.weight"], "write key=value or key=value,value"),
        (["penalty.weight="], "write key=value or key=value,value"),
        (["penalty.weight=1,"], "write key=value or key=value,value"),
        (["penalty.weight=1", "penalty.weight=2"], "`penalty.weight` is there twice"),
        ([], "nothing to sweep"),
    ],
)
def test_what_is_no_grid(axes: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(axes)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["penalty.nam=auto"], r"penalty.nam=auto: unknown key `penalty.nam` \(did you mean `name`\?\)"),
        (["penalti.name=auto"], r"unknown block `penalti` \(did you mean `penalty`\?\)"),
        (["penalty.weight=0.5,heavy"], "penalty.weight=heavy: `penalty.weight`: `heavy` must be a number"),
        (["seeds=0,0"], r"`seeds`: \[0, 0\] must list distinct whole numbers"),
        (["penalty.weight=["], "cannot be set"),
        (["penalty.name=bellman,auto", "penalty.weight=auto"], "only the learner knows `penalty.name: bellman`"),
        (["policy.entropy_weight=0.1,1"], "`policy.entropy_weight` changes nothing: the class that its block chooses"),
        (["iql.expectile=0.7,0.9"], "`iql.expectile` changes nothing: .* or `baselines` does not list it"),
    ],
)
def test_all_points_are_checked_before_the_first_runs(axes: list[str], message: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message) as error:
        check_points(grid(axes), params)
    assert "\n" not in str(error.value)


def test_an_option_that_some_point_uses_is_swept(params: dict[str, Any]) -> None:
    check_points(grid(["policy.name=sac,actor_critic", "policy.entropy_weight=0.1,1"]), params)


def test_long_names_are_cut_and_stay_apart() -> None:
    long = [f"policy.hidden=[{'64,' * 80}{last}]" for last in (1, 2)]
    first, second = (grid([axis])[0].name for axis in long)
    assert len(first) == len(second) == 150
    assert first != second


def test_names_are_those_that_git_accepts() -> None:
    point = grid(["dataset.path=../logs/a..b.csv"])[0]
    assert point.name == "sweep-dataset.path=-logs-a-b.csv"
    assert subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cd/{point.name}"]).returncode == 0


def test_the_logs_of_a_point_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.cli.experiment.read_params", lambda: params)
    (tmp_path / "data/start/policy/seed-0").mkdir(parents=True)
    paths = _logs({"dataset.path": "data/logs/b.csv"})
    assert "data/logs/b.csv" in paths
    assert "data/start/policy/seed-0" in paths  # a bundle to continue from


def test_settings_are_read_as_in_params_yaml(params: dict[str, Any]) -> None:
    settings = {"penalty.weight": "1e-1", "policy.hidden": "[8,8]", "monitor.every": "null", "seeds": "[0,1]"}
    merged = with_settings(params, settings)
    assert (merged["penalty"]["weight"], merged["policy"]["hidden"], merged["seeds"]) == (0.1, [8, 8], [0, 1])
    assert merged["monitor"]["every"] is None
    assert params["seeds"] == [0]


def test_nothing_runs_with_a_wrong_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]
) -> None:
    monkeypatch.setattr("pipeline.cli.sweep.read_params", lambda: params)
    monkeypatch.setattr("pipeline.cli.sweep.run_experiment", lambda *_: pytest.fail("a point was run"))
    with pytest.raises(ValueError, match="unknown key"):
        list(run_sweep(["penalty.weight=1", "fit.epoch=1,2"], tmp_path))


def test_without_a_commit_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.cli.sweep.read_params", lambda: params)
    with pytest.raises(ValueError, match="need a git commit and there is none; run `git init`, then commit"):
        list(run_sweep(["penalty.weight=1,2"], tmp_path))


def test_an_interruption_ends_the_point_that_runs() -> None:
    pids: list[int] = []

    def note(text: str) -> NoReturn:
        pids.append(int(text))
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _run(
            [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"], os.environ, note
        )
    assert time.monotonic() - start < 300
    assert not psutil.pid_exists(pids[0])


def test_so_does_one_that_ignores_sigint(monkeypatch: pytest.MonkeyPatch) -> None:
    """As all do that `nohup ... &` has started."""
    monkeypatch.setattr("pipeline.cli.experiment.PATIENCE", 0.1)
    code = "import os, signal, time; signal.signal(2, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _run([sys.executable, "-c", code], os.environ, interrupted)
    assert time.monotonic() - start < 300


def interrupted(text: str) -> NoReturn:
    raise KeyboardInterrupt


def displayed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_point_has_its_lines() -> None:
    console = Console(file=io.StringIO(), width=40)
    with SweepProgress(2, console) as progress:
        with progress.point("penalty.weight=0.5") as line:
            line("Running stage 'ingest':")
        with progress.point("penalty.weight=2"):
            progress.reused = True
    assert re.sub(r"[\d.]+ s$", "N s", displayed(console), flags=re.MULTILINE).splitlines() == [
        "point 1 of 2: penalty.weight=0.5",
        "point 1 of 2: penalty.weight=0.5: done in N s",
        "point 2 of 2: penalty.weight=2",
        "point 2 of 2: penalty.weight=2: run before",
    ]


def test_a_terminal_shows_point_stage_and_what_is_left() -> None:
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system=None)
    with SweepProgress(3, console) as progress:
        with progress.point("penalty.weight=0.5") as line:
            line("Running stage 'learn_policy@0':")
            assert progress.left(0.0) == ""
        progress._times = [60.0]
        with progress.point("penalty.weight=2") as line:
            line("Stage 'fit_world_model@1' is cached - skipping run, checking out outputs")
    text = displayed(console)
    assert "point 2 of 3: penalty.weight=2, fit_world_model@1" in text
    assert "about 2 min 0 s left" in text
