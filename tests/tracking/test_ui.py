"""`make ui`: the address of the runs, and a port that is taken."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.tracking import store, ui


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("seeds: [0]\n")
    return tmp_path


def test_the_address_opens_the_training_view_and_the_server_ends_with_its_processes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(ui, "_run_to_the_end", lambda command: ran.append(command) or 0)
    monkeypatch.setattr(ui, "_open_when_ready", lambda server, url: None)
    with socket.socket() as free:
        free.bind((ui.HOST, 0))
        port = free.getsockname()[1]
    (line,) = ui.show(port)
    assert f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning" in line
    (command,) = ran
    assert str(project / ".work/mlflow.db") in command[command.index("--backend-store-uri") + 1]
    (experiment,) = MlflowClient(store.tracking_uri()).search_experiments(filter_string="name = 'offline-mbrl'")
    assert experiment.tags[store.KIND] == "custom_model_development"
    assert "pipeline.status" in experiment.tags[f"mlflow.sharedViewState.{ui.VIEW}"]


def test_an_experiment_of_an_older_version_becomes_one_of_training(project: Path) -> None:
    store.client(store.tracking_uri()).create_experiment(store.experiment_name())
    experiment = store.open_experiment(store.tracking_uri())
    assert MlflowClient(store.tracking_uri()).get_experiment(experiment).tags[store.KIND] == store.TRAINING


def test_a_busy_port_is_one_line_with_the_fix(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port} of 127.0.0.1 .*--port {port + 1}`$"):
            list(ui.show(port))


def test_a_terminated_ui_leaves_no_server(tmp_path: Path) -> None:
    """MLflow's server is several processes, and a signal reaches the first alone."""
    inner = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    code = f"import sys; from pipeline.tracking import ui; ui._run_to_the_end([sys.executable, '-c', {outer!r}])"
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the server outlived the command")


def test_link_of_a_report_finds_its_runs_by_the_key() -> None:
    url = ui.report_runs_url("abc")
    assert url.endswith("&searchFilter=tags.%60stage.report.key%60%20%3D%20%27abc%27")
