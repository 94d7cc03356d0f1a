"""The lines around a stage."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.tracking import dvc_files
from pipeline.tracking.dvc_files import read_yaml
from pipeline.tracking.stage_lines import StageLines, duration

ROOT = Path(dvc_files.__file__).parents[2]
DVC_YAML = """
stages:
  ingest:
    cmd: none
    outs:
    - data/dataset:
        persist: true
  fit:
    matrix: {seed: "${seeds}"}
    cmd: none
    outs:
    - data/model/seed-${item.seed}
  report:
    cmd: python write.py
    outs:
    - reports/figures:
        cache: false
    metrics:
    - reports/summary.json:
        cache: false
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seeds": [0, 4]}))
    return tmp_path


def test_every_seed_is_a_stage_of_its_own(project: Path) -> None:
    assert StageLines("ingest").first() == "stage 1 of 4: ingest"
    assert StageLines("fit@4").first() == "stage 3 of 4: fit@4"


def test_last_line_names_what_was_written_and_the_time(project: Path) -> None:
    lines = StageLines("report")
    lines.ready()
    (line,) = lines.last()
    assert line.startswith("stage 4 of 4: report done in ")
    assert line.endswith(" of it to start; wrote reports/figures, reports/summary.json")


def test_a_stage_outside_of_dvc_yaml_has_no_number(project: Path) -> None:
    lines = StageLines("other")
    assert lines.first() == "other"
    assert "wrote" not in lines.last()[0]


def test_the_last_stage_below_dvc_says_how_long_all_took(project: Path) -> None:
    """The execution is the process named dvc above the stage."""
    code = "from pipeline.tracking.stage_lines import StageLines\nprint(*StageLines('report').last(), sep='\\n')\n"
    (project / "stage.py").write_text(code)
    (project / "dvc").write_text(f"import subprocess, sys\nsubprocess.run([{sys.executable!r}, 'stage.py'])\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(project / "dvc"), "repro"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].startswith("dvc repro: "), done.stderr


def test_durations() -> None:
    assert [duration(s) for s in (7.94, 725, 7500)] == ["7.9 s", "12 min 5 s", "2 h 5 min"]


def test_equal_contents_are_parsed_once_and_changed_ones_again(project: Path) -> None:
    """dvc.lock takes a third of a second, and a stage asks for it several times."""
    first = read_yaml(project / "params.yaml")
    assert read_yaml(project / "params.yaml") is first
    (project / "params.yaml").write_text("seeds: [1]\n")
    assert read_yaml(project / "params.yaml") == {"seeds": [1]}
