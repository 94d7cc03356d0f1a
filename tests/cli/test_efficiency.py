"""``python -m pipeline efficiency``: made-up results in the figure and the JSON, and a small project under DVC."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_examples import counting_log
from pydantic import TypeAdapter
from repositories import git
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.cli.efficiency import measure_efficiency, summarize, write_efficiency
from pipeline.evaluation.statistics import summary
from pipeline.ingest.writer import write_dataset
from pipeline.reporting.figures.efficiency import ShareResult, efficiency_figure

RETURNS = {"policy": 10.0, "bc": 5.0, "logged": 3.0}


def stage_outputs(share: float, references: tuple[float, float] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """dataset.json and evaluate.json of 80 training episodes of 10 steps, in which returns grow with the share."""
    episodes = round(80 * share)
    spread = np.linspace(-1, 1, 21)[None]
    low, high = references or (None, None)
    scores = {name: asdict(summary(value * share + spread, low, high, 100)) for name, value in RETURNS.items()}
    card = {"episodes": episodes + 20, "held_out_episodes": 20, "train_transitions": 10 * episodes}
    evaluation = {"seeds": [0, 1], "scores": {**scores, "random": None}, "learners": {"policy": {}, "bc": {}}}
    return {"name": "made-up", "digest": f"d{share}", **card}, evaluation


def results(references: tuple[float, float] | None = None) -> list[ShareResult]:
    return [summarize(share, *stage_outputs(share, references)) for share in (0.25, 1.0)]


@pytest.mark.parametrize("block", ["{source: npz}", "{source: npz, env_id: none}"])
def test_without_an_environment_nothing_is_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(tmp_path / "data/dataset", counting_log(), "counting", 0.3, 0)
    (tmp_path / "params.yaml").write_text(f"dataset: {block}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"returns cannot be measured without an environment; set `dataset\.env_id`"):
        next(measure_efficiency([0.5], tmp_path / "efficiency.png"))


def test_json_holds_counts_and_scores(tmp_path: Path) -> None:
    write_efficiency(results((0.0, 20.0)), tmp_path / "new/efficiency.png")
    small, whole = json.loads((tmp_path / "new/efficiency.json").read_text())["runs"]
    assert (small["train_episodes"], small["train_transitions"], small["digest"]) == (20, 200, "d0.25")
    assert (whole["train_episodes"], whole["train_transitions"], whole["seeds"]) == (80, 800, [0, 1])
    assert [run["scores"]["policy"]["return_mean"] for run in (small, whole)] == pytest.approx([2.5, 10.0])
    assert whole["scores"]["bc"]["iqm"] == pytest.approx(25.0)
    assert (tmp_path / "new/efficiency.png").read_bytes().startswith(b"\x89PNG")


def test_figure_shows_each_agent_with_its_intervals_and_the_logs_as_a_line() -> None:
    figure = efficiency_figure(results())
    (axes,) = figure.axes
    drawn = {c.get_label(): c for c in axes.containers}
    assert set(drawn) == {"policy", "behavior cloning"}
    curve, _, (bars,) = drawn["policy"]
    np.testing.assert_allclose(curve.get_xydata(), [[200, 2.5], [800, 10.0]])
    expected = [run.scores["policy"].return_mean_ci95 for run in results()]
    np.testing.assert_allclose([[low[1], high[1]] for low, high in bars.get_segments()], expected)
    (logged,) = (line for line in axes.lines if line.get_label() == "logged behavior")
    np.testing.assert_allclose(logged.get_ydata(), 3.0, atol=1e-12)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["200\n25 %", "800\n100 %"]
    assert figure.get_suptitle() == "Sample efficiency: made-up, seeds 0, 1"


def test_normalized_scores_have_a_panel_where_references_exist() -> None:
    returned, scored = efficiency_figure(results((0.0, 20.0))).axes
    assert "sum of rewards" in returned.get_ylabel()
    assert "normalized" in scored.get_ylabel()
    policy = next(c for c in scored.containers if c.get_label() == "policy")
    np.testing.assert_allclose(policy[0].get_xydata()[:, 1], [12.5, 50.0])


def test_equal_returns_are_drawn() -> None:
    dataset, evaluation = stage_outputs(1.0, None)
    equal = asdict(summary(np.full((1, 3), 0.1), None, None, 50))
    evaluation["scores"] = {name: {**equal, "return_mean_ci95": [0.1 + 1e-12, 0.1 + 1e-12]} for name in RETURNS}
    assert len(efficiency_figure([summarize(1.0, dataset, evaluation)]).axes) == 1


def test_without_an_environment_there_is_nothing_to_measure() -> None:
    dataset, evaluation = stage_outputs(1.0, None)
    evaluation["scores"] |= {"policy": None, "bc": None}
    with pytest.raises(ValueError, match=r"set `dataset.env_id`"):
        summarize(1.0, dataset, evaluation)


STAGE = """\
import json, pathlib, yaml
dataset = yaml.safe_load(open("params.yaml"))["dataset"]
assert pathlib.Path("data/transforms/mine.py").exists()
made = json.loads(pathlib.Path(dataset["path"]).read_text())[str(dataset["train_share"])]
pathlib.Path("reports/metrics").mkdir(parents=True)
for name, content in made.items():
    pathlib.Path("reports/metrics", name + ".json").write_text(json.dumps(content))
pathlib.Path("page.html").write_text("page")
with open({counter!r}, "a") as file:
    file.write("ran ")
"""
DVC_YAML = """\
stages:
  all:
    cmd: python stage.py
    deps: [stage.py, "${dataset.path}"]
    params: [dataset]
    outs:
    - page.html: {cache: false}  # DVC's run cache leaves out a stage with such an output
    metrics:
    - reports/metrics/dataset.json: {cache: false}
    - reports/metrics/evaluate.json: {cache: false}
"""


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


@pytest.fixture
def project(empty: Path) -> Path:
    """One stage that hands out the made-up results, read from logs that git ignores, counted outside of the project."""
    git("init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    for folder in ("logs", "data/transforms"):
        Path(folder).mkdir(parents=True)
    made = {
        str(share): dict(zip(("dataset", "evaluate"), stage_outputs(share, None), strict=True)) for share in (0.25, 1.0)
    }
    files = {"data/transforms/README.md": "functions\n", "logs/README.md": "logs\n"}
    files |= {"logs/made.json": json.dumps(made), ".gitignore": "/logs/made.json\n"}
    files |= {"stage.py": STAGE.format(counter=str(empty / "counter")), "dvc.yaml": DVC_YAML}
    for name, text in {**files, "params.yaml": "dataset:\n  path: logs/made.json\n"}.items():
        Path(name).write_text(text)
    git("add", ".")
    git("commit", "-qm", "all")
    Path("data/transforms/mine.py").write_text("# git does not know of it\n")
    return empty


@pytest.mark.slow
def test_shares_run_under_dvc_once_and_leave_the_workspace_alone(project: Path) -> None:
    out = project / "efficiency.png"
    before = git("status", "--porcelain")
    lines = list(measure_efficiency([1.0, 0.25], out))
    assert [line for line in lines if " of " in line] == [
        "share 0.25 (1 of 2): experiment efficiency-0.25",
        "share 1 (2 of 2): experiment efficiency-1",
    ]
    runs = json.loads(out.with_suffix(".json").read_text())["runs"]
    assert TypeAdapter(list[ShareResult]).validate_python(runs) == results()
    assert git("status", "--porcelain") == before
    assert (project / "counter").read_text() == "ran ran "
    assert "(run before)" in list(measure_efficiency([0.25], out))[1]
    assert (project / "counter").read_text() == "ran ran "
    Path("stage.py").write_text(Path("stage.py").read_text() + "# edited\n")
    assert "(run before)" not in list(measure_efficiency([0.25], out))[1]
    assert (project / "counter").read_text() == "ran ran ran "
    assert len(git("for-each-ref", "refs/exps").splitlines()) == 2  # the newer one stands for the older


def test_a_missing_commit_or_dvc_is_named(empty: Path) -> None:
    with pytest.raises(ValueError, match="need a git commit and there is none; run `git init`, then commit"):
        list(measure_efficiency([1.0], empty / "out.png"))
    git("init", "-q")
    with pytest.raises(ValueError, match="there is none"):
        list(measure_efficiency([1.0], empty / "out.png"))
    git("commit", "-qm", "empty", "--allow-empty")
    with pytest.raises(ValueError, match=r"\.dvc: not found"):
        list(measure_efficiency([1.0], empty / "out.png"))


@pytest.mark.parametrize("shares", [["0"], ["0.5", "1.5"]])
def test_impossible_shares_are_refused_before_any_work(shares: list[str]) -> None:
    found = CliRunner().invoke(app, ["efficiency", *shares])
    assert isinstance(found.exception, ValueError)
    assert "above 0 and at most 1" in str(found.exception)
