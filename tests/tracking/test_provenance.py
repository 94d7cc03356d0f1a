"""Stage keys, against DVC itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.tracking.dvc_files import definitions_in, dependency_md5, stage_definitions
from pipeline.tracking.provenance import git_commit, locked_keys, stage_key, versions

DVC_YAML = """
stages:
  ingest:
    cmd: python write.py data/dataset ingest
    deps: [write.py, lib]
    params: [dataset]
    outs: [data/dataset]
  fit:
    matrix:
      seed: ${seeds}
    cmd: python write.py data/model/seed-${item.seed} fit@${item.seed}
    deps: [write.py, data/dataset]
    params: [model.width, fit]
    outs: ["data/model/seed-${item.seed}"]
  learn:
    foreach: ${seeds}
    do:
      cmd: python write.py data/policy/seed-${item} learn@${item}
      deps: [write.py, "data/model/seed-${item}"]
      params:
        - other.yaml:
            - lr
      outs: ["data/policy/seed-${item}"]
  evaluate:
    cmd: python write.py data/returns evaluate
    deps:
      - ${dataset.path}
      - data/model
    outs: [data/returns]
"""
WRITE = """
import json, pathlib, sys
sys.path.append({package!r})
from pipeline.tracking.provenance import stage_key
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
(folder / "out.txt").write_text(sys.argv[2])
keys = pathlib.Path("live_keys.jsonl")
with keys.open("a") as file:
    file.write(json.dumps([sys.argv[2], stage_key(sys.argv[2], {{}})]) + "\\n")
"""


def dvc(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    # The stages say `python`: it must be this one, also where the tests run without an activated environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    logs = tmp_path_factory.mktemp("logs") / "logs.npz"
    logs.write_bytes(b"logged")
    dataset = {"path": str(logs), "rate": 1e-3}
    params = {"seeds": [0, 7], "dataset": dataset, "model": {"width": 8}, "fit": {"lr": 3e-4}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "other.yaml").write_text("lr: 0.5\n")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "write.py").write_text(WRITE.format(package=str(Path(__file__).parents[2])))
    (folder / "lib/inner").mkdir(parents=True)
    (folder / "lib/b.py").write_text("b = 1\r\n")
    (folder / "lib/inner/a.py").write_text("a = 1\n")
    dvc(folder, "init", "--no-scm")
    shutil.copy(Path(__file__).parents[2] / ".dvcignore", folder)
    (folder / "lib/__pycache__").mkdir()
    (folder / "lib/__pycache__/b.cpython-312.pyc").write_bytes(b"compiled")
    (folder / "lib/inner/old.pyc").write_bytes(b"compiled")
    dvc(folder, "repro")
    return folder


def live_keys(repository: Path) -> dict[str, str]:
    return dict(json.loads(line) for line in (repository / "live_keys.jsonl").read_text().splitlines())


def test_key_while_running_is_the_key_in_the_lock(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    live = live_keys(repository)
    assert set(live) == {"ingest", "fit@0", "fit@7", "learn@0", "learn@7", "evaluate"}
    assert locked_keys() == live
    assert len(set(live.values())) == len(live)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("params.yaml", "width: 8", "width: 9", {"fit@0", "fit@7"}),
        ("other.yaml", "0.5", "0.25", {"learn@0", "learn@7"}),
        ("lib/b.py", "b = 1", "b = 2", {"ingest"}),
    ],
)
def test_key_follows_what_the_stage_uses(
    repository: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, changed: set[str]
) -> None:
    monkeypatch.chdir(repository)
    text = Path(file).read_bytes()
    try:
        Path(file).write_bytes(text.replace(old.encode(), new.encode()))
        keys = {name: stage_key(name, {}) for name in live_keys(repository)}
    finally:
        Path(file).write_bytes(text)
    assert {name for name, key in keys.items() if key != live_keys(repository)[name]} == changed


def test_definitions_expand_to_the_stages_of_dvc(repository: Path) -> None:
    fit = stage_definitions(repository / "dvc.yaml")["fit@7"]
    assert fit.deps == ["write.py", "data/dataset"]
    assert fit.params == {"params.yaml": ["model.width", "fit"]}


@pytest.mark.parametrize("names", [None, "bc", 3, []])
def test_a_matrix_over_no_list_has_no_stages(names: object) -> None:
    """The first line of a stage counts the stages before params.yaml is checked."""
    fit = {"matrix": {"name": "${names}"}, "cmd": "true"}
    assert definitions_in({"stages": {"fit": fit, "all": {"cmd": "true"}}}, {"names": names}).keys() == {"all"}


def test_folders_are_hashed_as_dvc_does(repository: Path) -> None:
    lock = yaml.safe_load((repository / "dvc.lock").read_text())["stages"]["ingest"]
    assert {d["path"]: d["md5"] for d in lock["deps"]}["lib"] == dependency_md5(repository / "lib")
    assert lock["outs"][0]["md5"] == dependency_md5(repository / "data/dataset")


def test_compiled_files_change_no_md5(tmp_path: Path) -> None:
    """A stage that imports a module writes them beside its code while it runs."""
    (tmp_path / "lib/inner").mkdir(parents=True)
    (tmp_path / "lib/inner/a.py").write_text("a = 1\n")
    before = dependency_md5(tmp_path / "lib")
    for file in ("lib/__pycache__/b.pyc", "lib/inner/__pycache__/a.pyc", "lib/old.pyc"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"compiled")
    assert dependency_md5(tmp_path / "lib") == before
    (tmp_path / "lib/inner/a.py").write_text("a = 2\n")
    assert dependency_md5(tmp_path / "lib") != before


def test_without_dvc_the_key_is_of_name_and_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {stage_key("a", {"x": 1}), stage_key("a", {"x": 2}), stage_key("b", {"x": 1})}
    assert len(keys) == 3
    assert stage_key("a", {"x": 1}) in keys
    assert locked_keys() == {}


def test_commit_outside_git_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == "unknown"
    assert {"torch", "mlflow"} <= set(versions())
