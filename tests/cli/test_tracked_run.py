"""``compare`` on runs that MLflow tracked, and ``sweep`` in a small project under DVC."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from repositories import git

from pipeline.cli.compare import compare_runs
from pipeline.cli.preset import apply_preset
from pipeline.cli.sweep import run_sweep
from pipeline.cli.tracked_run import from_parent, parents
from pipeline.stages import preflight
from pipeline.stages.stage import stage

RETURNS = {0.5: [[1.0, 2.0], [3.0, 4.0]], 2.0: [[3.0, 4.0], [5.0, 6.0]]}


def track(weight: float, with_returns: bool = True) -> None:
    """An execution of its own that evaluates a policy."""
    Path(".work/parents.json").unlink(missing_ok=True)
    Path("params.yaml").write_text(yaml.safe_dump({"seeds": [0, 1], "penalty": {"weight": weight}}))
    with stage("evaluate") as run:
        np.savez("returns.npz", policy=RETURNS[weight])
        if with_returns:
            run.log_artifact("returns.npz", "returns")
        run.log_headline({"evaluate/policy_return_mean": float(np.mean(RETURNS[weight])), "offline/fqe_low": weight})


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(preflight, "check", lambda *arguments: None)
    track(0.5)
    track(2.0)
    return tmp_path


def test_all_parents_are_compared_without_a_name(tracked: Path) -> None:
    first, second = map(from_parent, parents())
    assert (first.settings["penalty.weight"], first.seeds, first.estimates) == ("0.5", 2, {"fqe_low": 0.5})
    assert second.returns is not None
    np.testing.assert_array_equal(second.returns, RETURNS[2.0])
    lines = compare_runs([], tracked / "out")
    assert [line.split()[1] for line in lines[1:3]] == ["penalty.weight=2.0", "penalty.weight=0.5"]
    assert "reference" in lines[2]


def test_a_parent_is_found_by_its_id(tracked: Path) -> None:
    ids = [run.info.run_id for run in parents()]
    lines = compare_runs([ids[1], ids[0][:8]], tracked / "out")
    assert "penalty.weight=2.0" in lines[1]
    assert "reference" in lines[1]


def test_a_parent_without_returns_says_what_is_left_out(tracked: Path) -> None:
    track(2.0, with_returns=False)
    newest = from_parent(parents()[-1])
    assert (newest.return_mean, newest.returns) == (4.5, None)
    assert "returns/returns.npz" in newest.missing[0]


STAGE = """\
import json, pathlib, numpy, yaml
params = yaml.safe_load(open("params.yaml"))
weight, seeds = params["penalty"]["weight"], params["seeds"]
if weight == 9:
    raise SystemExit("this point fails")
for folder in ("reports/metrics", "data/returns"):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
returns = weight + numpy.arange(4.0 * len(seeds)).reshape(len(seeds), 4)
numpy.savez("data/returns/returns.npz", policy=returns)
mean = float(returns.mean())
scores = {"policy": {"return_mean": mean, "return_mean_ci95": [mean, mean]}}
pathlib.Path("reports/metrics/evaluate.json").write_text(json.dumps({"scores": scores, "seeds": seeds}))
with open(COUNTER, "a") as file:
    file.write(f"{weight} ")
"""
DVC_YAML = """\
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [seeds, penalty]
    outs:
    - data/returns
    - reports/metrics/evaluate.json: {cache: false}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One stage whose returns are the penalty's weight and more, counted outside of the project."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    git("init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    Path("params.yaml").write_text("seeds: [0]\n")
    apply_preset("ci", Path("params.yaml"))
    Path("stage.py").write_text(STAGE.replace("COUNTER", repr(str(tmp_path / "counter"))))
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("data/logs").mkdir(parents=True)
    Path("data/logs/README.md").write_text("logs\n")
    Path(".gitignore").write_text("/.work/\n/params.yaml.bak\n")
    git("add", ".")
    git("commit", "-qm", "all")
    return tmp_path


@pytest.mark.slow
def test_a_sweep_runs_each_point_once_and_leaves_the_workspace_alone(project: Path) -> None:
    axes = ["penalty.weight=0.5,2", "seeds=0,1"]
    lines = list(run_sweep(axes, project / "out"))
    assert (project / "counter").read_text() == "0.5 2 "
    assert git("status", "--porcelain") == ""
    board = json.loads((project / "out/leaderboard.json").read_text())
    assert board["title"] == "Sweep of penalty.weight; seeds=0,1"
    first, second = board["rows"]
    assert (first["name"], first["return_mean"], first["episodes"]) == ("penalty.weight=2", 5.5, 8)
    assert second["reference"] is True
    assert 0.5 < first["improvement"] < 1
    again = list(run_sweep(axes, project / "again"))
    assert (project / "counter").read_text() == "0.5 2 "
    assert again[:3] == lines[:3]
    name = "sweep-penalty.weight=2_seeds=0+1"
    assert "run before" in Path(f".work/logs/sweep/{name}.log").read_text()
    assert "penalty.weight=2" in "\n".join(compare_runs([name, "sweep-penalty.weight=0.5_seeds=0+1"], project / "c"))


@pytest.mark.slow
def test_a_point_that_fails_leaves_the_others(project: Path) -> None:
    lines: list[str] = []
    with pytest.raises(ValueError, match="1 of 2 points failed; run the same sweep again"):
        for line in run_sweep(["penalty.weight=9,1"], project / "out"):
            lines.append(line)  # those before the error stay
    assert lines[1].startswith("failed: penalty.weight=9: failed to reproduce 'evaluate'")
    assert "this point fails" in Path(".work/logs/sweep/sweep-penalty.weight=9.log").read_text()
    assert any("penalty.weight=1" in line for line in lines[1:])
