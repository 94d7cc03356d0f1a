"""What a stage does when its store is slow, refuses entries, or loses its folder, and when SIGTERM comes in between."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.stages.stage import stage
from pipeline.tracking import sender
from pipeline.tracking.sender import Sender, send_left
from pipeline.tracking.spool import Spool, spools_dir


@pytest.fixture
def project(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in sender.LIMITS:
        monkeypatch.setenv(name, "")  # so that it is deleted again after the test
        monkeypatch.delenv(name)
    monkeypatch.setattr(sender, "SEND_SECONDS", 1000.0)  # nothing is sent before the stage ends
    return bare_project


@pytest.fixture
def client(project: Path, database: str) -> MlflowClient:
    return MlflowClient(database)


class Clock:
    """A clock of its own for the sender, which each event that the store takes moves by five seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.kinds = 1.0, list[str]()
        send = sender.events.send

        def slow(client: MlflowClient, event: dict[str, str], spool: Path) -> None:
            self.now += 5.0
            self.kinds.append(event["kind"])
            send(client, event, spool)

        monkeypatch.setattr(sender.events, "send", slow)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def write_spool(client: MlflowClient, project: Path, uri: str, metrics: int) -> Spool:
    """The spool of a new run with so many points, and its end."""
    experiment = client.get_experiment_by_name(project.name)
    run = client.create_run(experiment.experiment_id if experiment else client.create_experiment(project.name))
    spool = Spool.create(run.info.run_id, uri, project / "resume")
    points = [{"kind": "metrics", "run": spool.run_id, "points": [["loss", 1.0, 1, i]]} for i in range(metrics)]
    spool.append([*points, {"kind": "end", "run": spool.run_id, "status": "FINISHED", "time": 5}])
    return spool


def test_a_slow_store_gets_the_end_of_the_run_first_and_the_rest_later(
    project: Path, client: MlflowClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = write_spool(client, project, database, 50)
    late = Sender(spool, client)
    clock = Clock(monkeypatch)
    late.start()
    late.finish()
    (line,) = late.lines()
    assert clock.now <= 1.0 + sender.EDGE_SECONDS + 2 * 5.0
    assert clock.kinds[-1] == "end"
    assert client.get_run(spool.run_id).info.status == "FINISHED"
    assert f"too slow to take everything in 30 s; {50 - len(clock.kinds) + 1} points wait in {spool.folder}" in line
    spool.close()
    (line,) = send_left(database)  # at the start of a stage
    assert "too slow" in line
    while list(send_left(database)):
        pass
    assert len(client.get_metric_history(spool.run_id, "loss")) == 50
    assert clock.kinds.count("metrics") == 50
    assert not spool.folder.exists()


class SlowFiles(BaseHTTPRequestHandler):
    """Takes a file, and needs two seconds to store it."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(2)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def slow_files() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), SlowFiles) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("limit", [None, "1"])
def test_a_file_may_take_longer_than_other_entries(
    project: Path, limit: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if limit is None:
        monkeypatch.setitem(sender.LIMITS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setattr(sender, "FILE_SECONDS", "60", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", limit)  # of the user: it holds for all
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with slow_files() as uri:
        monkeypatch.setattr(
            MlflowClient, "log_artifact", lambda self, run, path, folder: HttpArtifactRepository(uri).log_artifact(path)
        )
        with stage("learn_policy", seed=0) as run:
            run.log_artifact("params.yaml")
    printed = capsys.readouterr().out
    assert ("warning: MLflow store" in printed) == (limit is not None)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"


@pytest.mark.parametrize("place", [(os, "fsync"), (Spool, "append")])
def test_sigterm_while_events_are_written_leaves_a_run_that_is_closed(
    project: Path, client: MlflowClient, place: tuple[object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call: Callable[..., object] = vars(place[0])[place[1]]

    def interrupted(*arguments: object) -> object:
        monkeypatch.undo()
        monkeypatch.chdir(project)
        call(*arguments)
        raise SystemExit(143)  # as the handler of SIGTERM does

    with pytest.raises(SystemExit), stage("learn_policy", seed=0) as run:
        run.log_params({"lr": 0.1})
        run.log_metrics({"loss": 3.0}, step=1)
        monkeypatch.setattr(place[0], place[1], interrupted)
        run.flush()
    assert client.get_run(str(run.run_id)).info.status == "KILLED"
    assert [(point.step, point.value) for point in client.get_metric_history(str(run.run_id), "loss")] == [(1, 3.0)]
    assert list(spools_dir().glob("*")) == []


def test_what_the_store_refuses_for_good_is_named_once_and_dropped(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("learn_policy", seed=0) as run:
        run.log_params({"lr": 0.1})
        client.delete_run(str(run.run_id))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert f"refuses 2 other entries of run {run.run_id}, dropped: " in line
    assert "must be in the 'active' state" in line
    assert "sync-tracking" not in line
    assert list(spools_dir().glob("*")) == []


def test_the_command_drops_what_the_store_refuses_for_good(project: Path, client: MlflowClient, database: str) -> None:
    spool = write_spool(client, project, database, 2)
    spool.close()
    client.delete_run(spool.run_id)
    done = CliRunner().invoke(app, ["sync-tracking"])
    assert done.exit_code == 0
    assert "refuses 2 points, 1 other entry" in done.stdout
    assert ": sent " not in done.stdout
    again = CliRunner().invoke(app, ["sync-tracking"])
    assert (again.exit_code, again.stdout) == (0, "")


def test_what_another_store_lacks_waits_for_the_right_one(
    project: Path, client: MlflowClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = write_spool(client, project, database, 2)
    run = client.get_run(spool.run_id)
    spool.append([{"kind": "end", "run": "0" * 32, "status": "FINISHED", "time": 5}])
    spool.append([{"kind": "metrics", "run": spool.run_id, "points": [["loss", 1.0, 1, 7]]}])
    spool.close()
    failed = CliRunner().invoke(app, ["sync-tracking"])
    assert f"{run.info.run_id}: sent 3 points, 1 other entry" in failed.stdout
    assert re.search(r"1 other entry \(.*0000 not found\)", str(failed.exception))
    assert "\n" not in str(failed.exception)
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 3
    (line,) = send_left(database)
    assert "not found; 1 other entry wait in" in line


def test_a_stage_outlives_the_folder_of_what_it_sends(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("learn_policy", seed=0) as run:
        run.log_metrics({"loss": 3.0}, step=1)
        run.flush()
        shutil.rmtree(spools_dir())
        run.log_metrics({"loss": 2.0}, step=2)
        run.log_artifact("params.yaml")
    artifact, waiting, unwritten = [line for line in capsys.readouterr().out.splitlines() if "warning: " in line]
    assert "`params.yaml` is not logged" in artifact
    assert "is lost: " in waiting
    assert "are lost: " in unwritten
    assert client.get_run(str(run.run_id)).info.status == "RUNNING"  # its end was lost too
