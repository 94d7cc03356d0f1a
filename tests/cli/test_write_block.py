"""The files that params.yaml names, and the block that ``inspect --write`` puts into it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from closure import ROOT
from data_examples import counting_columns

from pipeline.cli.doctor import examine
from pipeline.cli.log_files import missing_files
from pipeline.cli.write_block import write_block
from pipeline.params import read_params

PARAMS = """# top
seeds: [0]  # each seed

dataset:  # the logs
  source: collect
  behaviors:
    # inner
    - {name: swing_up, share: 1.0, noise: 2.5}
  path: data/logs

# about the policy
policy:
  name: sac  # the learner
"""
BLOCK = ["dataset:", "  source: npz", "  path: a b.npz  # unsure: why"]


def test_only_the_block_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS)
    line = write_block(BLOCK, file)
    assert line == f"{file}: block `dataset` is written; {file}.bak is the file before"
    before, after = PARAMS[: PARAMS.index("dataset:")], PARAMS[PARAMS.index("\n# about the policy") :]
    assert file.read_text() == before + "\n".join(BLOCK) + "\n" + after
    assert (tmp_path / "params.yaml.bak").read_text() == PARAMS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dataset:\n  source: npz\n", "\n".join(BLOCK) + "\n"),
        ("seeds: [0]\n", "seeds: [0]\n" + "\n".join(BLOCK) + "\n"),
        ("dataset: {source: npz,\n  path: a}\nbc: {}\n", "\n".join(BLOCK) + "\nbc: {}\n"),
    ],
)
def test_a_block_at_the_end_or_absent(old: str, new: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(old)
    write_block(BLOCK, tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == new


def test_a_block_that_is_there_twice(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS + "dataset:\n  source: npz\n")
    expected = "params.yaml: block `dataset` is there twice, in lines 4 and 14; remove one"
    for act in (lambda: read_params(file), lambda: write_block(BLOCK, file)):
        with pytest.raises(ValueError) as caught:
            act()
        assert str(caught.value).endswith(expected)
    assert not (tmp_path / "params.yaml.bak").exists()


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "log.npz").touch()
    block = {"source": "npz", "path": "log.npz", "held_out_path": "val.npz", "transform": "mine:reward"}
    lines = missing_files(block, tmp_path)
    assert lines[0].startswith("val.npz: not found; put the log there, or correct `dataset.held_out_path`")
    assert lines[1].startswith("data/transforms/mine.py: not found; write it, or correct `dataset.transform`")
    assert missing_files({"source": "npz", "path": "log.npz", "held_out_path": "log.npz"}, tmp_path) == []
    minari = {"source": "minari", "path": "data/logs", "held_out_path": "data/logs"}
    assert missing_files(minari, tmp_path) == [
        "data/logs: not found; create the folder (`mkdir -p data/logs`), or correct `dataset.path` in params.yaml"
    ]
    os.mkfifo(tmp_path / "pipe.npz")
    (line,) = missing_files({"source": "npz", "path": "pipe.npz", "held_out_path": "log.npz"}, tmp_path)
    assert "pipe.npz: a pipe, socket or device, not a file" in line


def command(folder: Path, *words: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OFFLINE_RL_DATA": "absent"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=folder, env=env, capture_output=True, check=True
    )
    return done.stdout.decode()


def test_inspect_writes_and_preset_and_doctor_miss_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(old)
    np.savez(tmp_path / "log.npz", **counting_columns())  # type: ignore[arg-type]
    printed = command(tmp_path, "inspect", "log.npz", "--write")
    block = yaml.safe_load(printed[: printed.index("params.yaml: block")])
    assert read_params(tmp_path / "params.yaml") == {**yaml.safe_load(old), **block}
    assert (tmp_path / "params.yaml.bak").read_text() == old

    monkeypatch.chdir(tmp_path)
    logs = {finding.name: finding for finding in examine()}["logs"]
    assert (logs.good, logs.text) == (True, "log.npz")
    assert "warning: " in (said := command(tmp_path, "preset", "hopper-medium"))
    assert "absent/mujoco-logs/hopper-medium.hdf5: not found; put the log there" in said
    logs = {finding.name: finding for finding in examine()}["logs"]
    assert not logs.good
    assert logs.line().startswith("BAD logs")
    assert logs.text.count("not found") == 1
