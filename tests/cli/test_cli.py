"""``python -m pipeline``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.cli import preset
from pipeline.cli.doctor import Finding, examine
from pipeline.cli.preset import apply_preset
from pipeline.params import read_params
from pipeline.stages import preflight
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import make_trainer

ROOT = Path(preset.__file__).parents[2]
PARAMS = """\
# the top comment
seeds: [0, 1]  # each seed its own

dataset:
  source: collect  # an old source
  episodes: 5

# about the policy
policy:
  name: sac
  updates: 7  # tuned once
  old_option: 1

# about the rest
bc:
  updates: 7
"""
PART = """\
dataset:
  source: npz
policy:
  updates: 9
  bc_weight: 0.5
"""
OVERLAY = """\
extends: [_logs]
dataset:
  name: hopper
  path: ${DATA}/logs.npz
  held_out_path: ${DATA}/logs.npz
  action_low: [-1.0]
  action_high: [1.0]
policy:
  updates: 8
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/hopper.yaml").write_text(OVERLAY)
    (tmp_path / "presets/_logs.yaml").write_text(PART)
    (tmp_path / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset, "PRESETS", tmp_path / "presets")
    monkeypatch.setenv("OFFLINE_RL_DATA", "../logs folder")
    return tmp_path


def test_preset_keeps_comments_and_replaces_the_dataset(project: Path) -> None:
    old = (project / "params.yaml").read_text()
    changes = apply_preset("hopper", project / "params.yaml")
    assert (project / "params.yaml.bak").read_text() == old
    text = (project / "params.yaml").read_text()
    for comment in ("# the top comment", "[0, 1]  # each seed its own", "  updates: 8  # tuned once"):
        assert comment in text
    assert "\n\n# about the policy\npolicy:" in text
    assert "\n\n# about the rest\nbc:" in text
    params = yaml.safe_load(text)
    logs = str(project.parent / "logs folder/logs.npz")
    paths = {"name": "hopper", "path": logs, "held_out_path": logs}
    assert params["dataset"] == {"source": "npz", **paths, "action_low": [-1.0], "action_high": [1.0]}
    assert params["policy"] == {"name": "sac", "updates": 8, "bc_weight": 0.5}
    assert params["seeds"] == [0, 1]
    assert {
        "policy.updates: 7 -> 8",
        "policy.old_option: 1 -> (absent)",
        "dataset.source: collect -> npz",
        "dataset.episodes: 5 -> (absent)",
        "bc.updates: 7 -> 5000",
        "monitor.every: (absent) -> 0",
    } <= set(changes)
    preflight.check(read_params(project / "params.yaml"))


def test_preset_twice_changes_nothing(project: Path) -> None:
    apply_preset("hopper", project / "params.yaml")
    before = (project / "params.yaml").read_text()
    assert apply_preset("hopper", project / "params.yaml") == [f"{project}/params.yaml already is preset `hopper`"]
    assert (project / "params.yaml").read_text() == before


def test_unknown_preset_and_broken_params_leave_the_file_alone(project: Path) -> None:
    with pytest.raises(ValueError, match=r"preset `hoper` is unknown \(did you mean `hopper`\?\)$"):
        apply_preset("hoper", project / "params.yaml")
    (project / "params.yaml").write_text("seeds: [0")
    with pytest.raises(ValueError, match="not valid YAML"):
        apply_preset("hopper", project / "params.yaml")
    assert (project / "params.yaml").read_text() == "seeds: [0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"polcy": {}}, r"unknown block `polcy` \(did you mean `policy`\?\)"),
        ({"seeds": [0, 0]}, "distinct whole numbers"),
        ({"seeds": []}, "distinct whole numbers"),
        ({"seeds": [-1]}, "distinct whole numbers"),
        ({"seeds": [True]}, "distinct whole numbers"),
        ({"policy": {"name": "sacc"}}, r"`policy.name: sacc` is unknown \(did you mean `sac`\?\)"),
        ({"policy": {"name": "sac", "updatess": 1}}, r"unknown key `policy.updatess` \(did you mean `updates`\?\)"),
        ({"penalty": None}, "`penalty` must be a block of `key: value` lines, not None"),
        ({"policy": "sac"}, "`policy` must be a block of `key: value` lines, not `sac`"),
        (
            {"penalty": {"name": "ensemble_sdt"}},
            r"`penalty.name`: `ensemble_sdt` .*auto \(did you mean `ensemble_std`\?\)$",
        ),
        (
            {"penalty": {"name": "bellman", "weight": 1.0}, "rollout": {"halt_above": 2.0}},
            "`rollout.halt_above` .*set both to null$",
        ),
        ({"offline": {"penalty": "distance"}}, "`offline.penalty`: `distance` must be one of max_aleatoric"),
        ({"policy": {"name": "sac", "halt_cost": 1.0}}, "set `rollout.halt_quantile`$"),
        (
            {"policy": {"name": "sac", "conservatism": 1.0}, "rollout": {"real_ratio": 1.0}},
            "`rollout.real_ratio: 1.0` leaves one kind out: set it to 0.5$",
        ),
        ({"penalty": {"weight": float("nan")}}, "`penalty.weight`: nan must be a finite number or be 'auto'$"),
        (
            {"policy": {"name": "sac", "actor_learning_rate": -1.0}},
            "policy.actor_learning_rate`: -1.0 must be above 0$",
        ),
        (
            {"policy": {"name": "cem", "terminal_value": {"hidden": [0]}}},
            "terminal_value.hidden.0`: 0 must be at least 1$",
        ),
        ({"world_model": {"name": "gaussian_ensemble", "width": 0}}, "`world_model.width`: 0 must be at least 1$"),
        ({"trainer": {"devices": "two"}}, "`trainer.devices`: `two` must be a whole number$"),
        ({"trainer": {"devices": True}}, "`trainer.devices`: True must be a number$"),
        (
            {"trainer": {"matmul_precision": "hihg"}},
            r"be 'highest', 'high', 'medium' or 'auto' \(did you mean `high`\?\)$",
        ),
        ({"bc": {"hidden": 128}}, "`bc.hidden`: 128 must be a list$"),
        ({"bc": {"learning_rate": float("inf")}}, "`bc.learning_rate`: inf must be a finite number$"),
        ({"rollout": {"halt_quantile": 0.9, "halt_above": 1.0}}, "`rollout`: .*: set one of them to null$"),
        ({"policy": {"name": "cem", "terminal_value": {"hiden": [1]}}}, r"key `policy.terminal_value.hiden` \(did you"),
        ({"dataset": {"source": "minari", "path": "a", "held_out_path": "a"}}, "`dataset.dataset_id`: is missing$"),
        (
            {"dataset": {"source": "collect", "behaviors": [{"name": "swingup"}]}},
            "`dataset.behaviors.0.name`: `swingup`",
        ),
        (
            {"trainer": {"devices": 3}},
            r"`fit.batch_size: 256` does not divide evenly among 3 processes .*; set it to 255$",
        ),
        ({"trainer": {"devices": 4, "num_nodes": 3}}, r"4 x trainer.num_nodes 3\); set it to 252$"),
        ({"trainer": {"devices": 2, "num_nodes": 2}, "fit": {"batch_size": 1}}, "4 processes.*; set it to 4$"),
        (
            {"world_model": {"name": "rssm"}, "trainer": {"devices": 3}},
            r"`fit.batch_size: 256` of 8 windows does not divide evenly among 3 processes .*; set it to 288$",
        ),
        ({"world_model": {"name": "rssm"}, "fit": {"batch_size": 8}, "trainer": {"devices": 2}}, "; set it to 64$"),
    ],
)
def test_preflight_names_the_mistake(change: dict, message: str) -> None:
    params = {**read_params(ROOT / "params.yaml"), **change}
    with pytest.raises(ValueError, match=message):
        preflight.check(params)


def test_preflight_opens_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.npz")
    log = {"source": "npz", "path": str(tmp_path / "log.npz"), "held_out_path": str(tmp_path / "log.npz")}
    with pytest.raises(ValueError, match="a pipe, socket or device, not a file"):
        preflight.check({**read_params(ROOT / "params.yaml"), "dataset": log})


def test_devices_that_are_not_there_are_the_users_to_mend() -> None:
    with pytest.raises(ValueError, match=r"params.yaml: `trainer`: .*doctor` lists the devices$"):
        make_trainer(TrainerConfig(accelerator="tpu"), 1, [])


def test_doctor_reports_good_and_bad(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = {finding.name: finding for finding in examine()}
    assert found["torch"].good
    assert "cpu with" in found["devices"].text
    assert not found["mlflow store"].good
    assert "not reachable" in found["mlflow store"].text
    assert "dvc init" in found["dvc cache"].text
    assert Finding("disk", "little", good=False).line().startswith("BAD disk")


def test_user_errors_are_one_line(project: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "preset", "pendulumm"]
    done = subprocess.run(command, cwd=project, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert done.returncode == 1
    error = done.stderr.decode()
    assert error.startswith("error: preset `pendulumm` is unknown")
    assert error.count("\n") == 1
