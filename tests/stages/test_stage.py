"""Runs, parents and errors, on a sqlite store."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from pipeline.stages import ingest, preflight
from pipeline.stages.stage import stage
from pipeline.tracking import store
from pipeline.tracking.lightning_logger import logger_for
from pipeline.tracking.paths import main_project


@pytest.fixture
def project(bare_project: Path) -> Path:
    (bare_project / "params.yaml").write_text(yaml.safe_dump({"seeds": [0], "policy": {"lr": 0.1}}))
    return bare_project


@pytest.fixture
def client(project: Path, database: str) -> MlflowClient:
    return MlflowClient(database)


def runs(client: MlflowClient) -> dict[str, list]:
    experiment = client.get_experiment_by_name(store.experiment_name())
    found = client.search_runs([experiment.experiment_id])
    kinds = {"parents": [], "children": []}
    for run in found:
        kinds["children" if "mlflow.parentRunId" in run.data.tags else "parents"].append(run)
    return kinds


def test_two_stages_of_one_execution_share_a_parent(client: MlflowClient) -> None:
    with stage("ingest") as first:
        first.log_params({"dataset": {"source": "npz", "shape": [1, 2]}})
        first.log_metrics({"rows": 3.0}, step=0)
    with stage("learn_policy", seed=0) as second:
        second.log_metrics({"sac/loss": 1.5}, step=5)
        second.log_metrics({"sac/loss": 0.5}, step=9)
    found = runs(client)
    (parent,) = found["parents"]
    assert {r.data.tags["mlflow.parentRunId"] for r in found["children"]} == {parent.info.run_id}
    assert {r.info.status for r in [parent, *found["children"]]} == {"FINISHED"}
    assert parent.data.tags["stage.learn_policy-0.run_id"] == second.run_id
    ingest = client.get_run(first.run_id)
    assert ingest.data.params == {"dataset.source": "npz", "dataset.shape": "[1, 2]"}
    assert ingest.data.metrics["rows"] == 3.0
    history = client.get_metric_history(second.run_id, "sac/loss")
    assert [(m.step, m.value) for m in history] == [(5, 1.5), (9, 0.5)]


def test_headline_stands_on_the_parent_beside_all_params(client: MlflowClient) -> None:
    with stage("evaluate") as run:
        run.log_headline({"evaluate/policy_return_mean": 7.0})
    (parent,) = runs(client)["parents"]
    for found in (parent, client.get_run(run.run_id)):
        assert found.data.metrics["evaluate/policy_return_mean"] == 7.0
    assert parent.data.params == {"seeds": "[0]", "policy.lr": "0.1"}


def test_decision_stands_on_the_stage_and_the_parent(client: MlflowClient) -> None:
    with stage("report") as run:
        run.log_decision("do not deploy", "cloning is better")
    (parent,) = runs(client)["parents"]
    for found in (parent, client.get_run(run.run_id)):
        assert found.data.tags["pipeline.status"] == "do not deploy"
        assert found.data.tags["pipeline.reason"] == "cloning is better"
    assert parent.data.tags["mlflow.note.content"] == "**do not deploy**: cloning is better"


def test_run_ids_of_the_environment_are_ignored(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with stage("ingest") as run:
        pass
    assert client.get_run(run.run_id).data.tags["pipeline.stage"] == "ingest"


def test_user_error_is_one_line_and_fails_the_run(
    client: MlflowClient, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_, stage("ingest"):
        raise ValueError("logs.npz: column `obs` is missing;\n add it")
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "error: logs.npz: column `obs` is missing; add it\n"
    found = runs(client)
    assert {r.info.status for r in found["parents"] + found["children"]} == {"FAILED"}
    log = (project / ".work/logs/ingest.log").read_text()
    assert "Traceback" in log
    assert "add it" in log


def test_a_wrong_path_leaves_no_failed_run(
    client: MlflowClient, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = {"source": "npz", "path": "nowhere.npz", "held_out_path": "nowhere.npz"}
    (project / "params.yaml").write_text(yaml.safe_dump({"seeds": [0], "dataset": block}))
    with pytest.raises(SystemExit):
        ingest.main()
    assert capsys.readouterr().err.endswith("error: nowhere.npz: not found; correct `dataset.path` in params.yaml\n")
    assert client.get_experiment_by_name(store.experiment_name()) is None
    assert not (project / "data").exists()


def test_our_own_mistake_leaves_with_its_traceback(client: MlflowClient) -> None:
    with pytest.raises(AssertionError), stage("ingest"):
        raise AssertionError
    assert runs(client)["children"][0].info.status == "FAILED"


def test_bad_params_stop_before_anything_is_tracked(
    client: MlflowClient, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text("seeds: [0")
    with pytest.raises(SystemExit), stage("ingest"):
        raise AssertionError("must not be reached")
    assert capsys.readouterr().err.startswith("error: params.yaml: not valid YAML")
    assert client.get_experiment_by_name(store.experiment_name()) is None


def test_log_file_holds_what_was_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("first", "second"):
        with stage("learn_policy", seed=3) as run:
            print(f"10%\r20%\r{text}")
            run.print("by the run")
    logs = project / ".work/logs"
    assert f"log: {logs / 'learn_policy-seed-3.log'}" in capsys.readouterr().out
    kept = (logs / "learn_policy-seed-3.log").read_text().splitlines()
    assert "second" in kept
    assert "by the run" in kept
    assert "first" in (logs / "learn_policy-seed-3.previous.log").read_text()


def test_helper_processes_of_ddp_track_nothing(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage("learn_policy", seed=0) as main:
        pass
    monkeypatch.setenv("LOCAL_RANK", "1")
    with stage("learn_policy", seed=0) as helper:
        helper.log_metrics({"loss": 1.0}, step=0)
        helper.log_artifact("params.yaml")
        assert logger_for(helper) is False
    assert (helper.run_id, helper.work) == (None, main.work)
    assert len(runs(client)["children"]) == 1


def test_interrupted_stage_goes_on_in_its_run(client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt), stage("learn_policy", seed=0) as killed:
        (killed.work / "last.pt").write_text("checkpoint")
        raise KeyboardInterrupt
    assert client.get_run(killed.run_id).info.status == "KILLED"
    with stage("learn_policy", seed=0) as resumed:
        assert (resumed.work / "last.pt").exists()
    assert resumed.run_id == killed.run_id
    assert client.get_run(killed.run_id).info.status == "FINISHED"
    assert not resumed.work.exists()
    with stage("learn_policy", seed=0) as again:
        pass
    assert again.run_id != killed.run_id


def test_params_edited_while_a_stage_runs_are_refused(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC would write them into dvc.lock beside what the old ones made."""
    params = (project / "params.yaml").read_text()
    with pytest.raises(SystemExit) as left, stage("learn_policy", seed=0) as run:
        (run.work / "last.pt").write_text("checkpoint")
        (project / "params.yaml").write_text(params.replace("0.1", "0.2"))
    assert left.value.code == 1
    assert "error: params.yaml, code or data of this stage changed while it ran" in capsys.readouterr().err
    assert client.get_run(run.run_id).info.status == "FAILED"
    (project / "params.yaml").write_text(params)
    with stage("learn_policy", seed=0) as again:
        assert (again.work / "last.pt").exists()
    assert again.run_id == run.run_id


def test_checkpoint_of_other_params_is_not_picked_up(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt), stage("learn_policy", seed=0) as killed:
        (killed.work / "last.pt").write_text("checkpoint")
        raise KeyboardInterrupt
    (project / "params.yaml").write_text(yaml.safe_dump({"seeds": [0], "policy": {"lr": 0.2}}))
    with stage("learn_policy", seed=0) as other:
        assert not (other.work / "last.pt").exists()
    assert other.run_id != killed.run_id


def test_dead_parent_is_closed_at_the_next_start(client: MlflowClient, project: Path) -> None:
    with stage("ingest") as first:
        parent = client.get_run(first.run_id).data.tags["mlflow.parentRunId"]
    client.update_run(parent, status="RUNNING")
    client.update_run(first.run_id, status="RUNNING")
    state = project / ".work/parents.json"
    (entry,) = json.loads(state.read_text())
    state.write_text(json.dumps([{**entry, "started": entry["started"] - 1000.0}]))
    with stage("ingest") as second:
        pass
    assert client.get_run(parent).info.status == "KILLED"
    assert client.get_run(first.run_id).info.status == "KILLED"
    assert client.get_run(second.run_id).data.tags["mlflow.parentRunId"] != parent
    assert [e["run_id"] for e in json.loads(state.read_text())] != [parent]


def test_sigterm_kills_the_run(client: MlflowClient, project: Path) -> None:
    code = (
        "from pipeline.stages import preflight; preflight.check = lambda *arguments: None\n"
        "from pipeline.stages.stage import stage\n"
        "import os, signal\n"
        "with stage('ingest'): os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(preflight.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=project, env=environment, capture_output=True)
    assert done.returncode == 128 + signal.SIGTERM
    found = runs(client)
    assert {r.info.status for r in found["parents"] + found["children"]} == {"KILLED"}


def test_dataset_is_an_input_of_stage_and_parent_with_its_digest(client: MlflowClient, project: Path) -> None:
    class Spec:
        name, digest = "pendulum", "d" * 32

    (project / "dataset").mkdir()
    np.save(project / "dataset/reward.npy", np.zeros(7, np.float32))
    for seed in (0, 1):
        with warnings.catch_warnings(), stage("baseline", seed, choice="bc") as run:
            warnings.simplefilter("error")
            run.log_dataset(Spec, project / "dataset")  # type: ignore[arg-type]
    (parent,) = runs(client)["parents"]
    assert parent.info.run_name == "pendulum seed 0"
    for found in (client.get_run(run.run_id), client.get_run(parent.info.run_id)):
        (logged,) = found.inputs.dataset_inputs
        assert (logged.dataset.name, logged.dataset.digest) == ("pendulum", "d" * 32)
        assert json.loads(logged.dataset.profile)["features_shape"] == {"reward": [7]}


def test_report_is_an_artifact_of_the_parent(client: MlflowClient, project: Path) -> None:
    (project / "index.html").write_text("page")
    with stage("report") as run:
        run.log_report(project / "index.html")
    (parent,) = runs(client)["parents"]
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["index.html"]


def test_lightning_logs_to_the_stage_run(client: MlflowClient) -> None:
    with stage("fit_world_model", seed=0) as run:
        logger = logger_for(run, prefix="fit/")
        logger.log_metrics({"loss": 2.0}, step=4)
        logger.finalize("success")
        assert client.get_run(run.run_id).info.status == "RUNNING"
    (metric,) = client.get_metric_history(run.run_id, "fit/loss")
    assert (metric.step, metric.value) == (4, 2.0)


def test_unreachable_server_is_a_user_error(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(SystemExit), stage("ingest"):
        raise AssertionError("must not be reached")
    assert "unset MLFLOW_TRACKING_URI" in capsys.readouterr().err


def test_main_project_is_found_from_a_temporary_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc/tmp/exps/tmpabc"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").write_text("")
    assert main_project(copy) == tmp_path
    monkeypatch.chdir(copy)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.tracking_uri() == f"sqlite:///{tmp_path / '.work/mlflow.db'}"
