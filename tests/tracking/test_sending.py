"""What a stage logs is on disk first, and reaches a store that was away."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.stages import preflight
from pipeline.stages.stage import stage
from pipeline.tracking import sender, store
from pipeline.tracking.spool import Spool, spools_dir

ROOT = Path(preflight.__file__).parents[2]
AWAY = ("log_batch", "log_inputs", "update_run", "set_terminated", "log_artifact", "log_artifacts")


@pytest.fixture
def project(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sender, "SEND_SECONDS", 0.05)
    return bare_project


@pytest.fixture
def client(project: Path, database: str) -> MlflowClient:
    return MlflowClient(database)


class Away:
    """A store that fails as a server does that has gone, between ``leave`` and ``come_back``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, how: Exception) -> None:
        self.gone, self.how, self.tries = False, how, 0
        self.asked = threading.Event()  # while it is away
        for name in AWAY:
            monkeypatch.setattr(MlflowClient, name, self._failing(getattr(MlflowClient, name)))

    def _failing(self, method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            self.tries += self.gone
            if self.gone:
                self.asked.set()
                raise self.how
            return method(*arguments, **named)

        return call


@pytest.fixture
def server(project: Path, monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(monkeypatch, MlflowException("Max retries exceeded\nTraceback of many lines"))


def curve(client: MlflowClient, run: str | None, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client.get_metric_history(str(run), key))


def log_everything(project: Path, server: Away) -> str:
    """A stage whose store goes away in its middle; the id of its run."""
    (project / "page.html").write_text("page")
    with stage("learn_policy", seed=0) as run:
        run.log_metrics({"loss": 3.0}, step=1)
        run.flush()
        server.gone = True
        run.log_params({"policy": {"lr": 0.1}})
        for step in range(2, 5):
            run.log_metrics({"loss": 3.0 / step, "nan": float("nan")}, step=step)
        run.log_artifact("page.html")
        run.log_report("page.html")
        run.log_headline({"score": 7.0})
        run.log_decision("deploy", "it is better")
    (project / "page.html").write_text("another page")
    assert run.run_id is not None
    return run.run_id


def everything_is_there(client: MlflowClient, run: str) -> None:
    found = client.get_run(run)
    parent = client.get_run(found.data.tags["mlflow.parentRunId"])
    assert curve(client, run, "loss") == [(1, 3.0), (2, 1.5), (3, 1.0), (4, 0.75)]
    assert [step for step, _ in curve(client, run, "nan")] == [2, 3, 4]
    assert found.data.params == {"policy.lr": "0.1"}
    assert (found.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert found.data.tags["pipeline.status"] == parent.data.tags["pipeline.status"] == "deploy"
    assert parent.data.metrics == {"score": 7.0}
    for logged in (run, parent.info.run_id):
        assert Path(client.download_artifacts(logged, "page.html")).read_text() == "page"  # as it was when logged
    assert list(spools_dir().glob("*")) == []


def test_a_store_that_goes_away_costs_one_line(
    project: Path, server: Away, client: MlflowClient, capfd: pytest.CaptureFixture[str]
) -> None:
    run = log_everything(project, server)
    shown = capfd.readouterr()
    (line,) = [line for line in shown.out.splitlines() if line.startswith("warning")]
    assert re.search(r"Max retries exceeded; \d+ points, 2 files, \d+ other entries wait in ", line)
    assert "python -m pipeline sync-tracking" in line
    assert "Traceback" not in shown.out + shown.err
    assert server.tries >= 1
    assert client.get_run(run).info.status == "RUNNING"


def test_the_command_sends_what_waits(project: Path, server: Away, client: MlflowClient) -> None:
    run = log_everything(project, server)
    failed = CliRunner().invoke(app, ["sync-tracking"])
    assert isinstance(failed.exception, ValueError)
    assert "\n" not in str(failed.exception)
    assert run in str(failed.exception)
    server.gone = False
    done = CliRunner().invoke(app, ["sync-tracking"])
    assert f"run {run}: sent " in done.stdout
    everything_is_there(client, run)
    ended = client.get_run(run)
    parent = client.get_run(ended.data.tags["mlflow.parentRunId"])
    assert ended.info.end_time == parent.info.end_time  # when the stage ended, not when that was sent
    assert CliRunner().invoke(app, ["sync-tracking"]).stdout == ""


def test_the_next_stage_sends_what_waits(project: Path, server: Away, client: MlflowClient) -> None:
    run = log_everything(project, server)
    server.gone = False
    with stage("evaluate") as following:
        pass
    everything_is_there(client, run)
    tags = client.get_run(str(following.run_id)).data.tags
    assert tags["mlflow.parentRunId"] == client.get_run(run).data.tags["mlflow.parentRunId"]


def test_a_store_that_comes_back_has_everything_at_the_end(
    project: Path, server: Away, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("learn_policy", seed=0) as run:
        server.gone = True
        run.log_metrics({"loss": 3.0}, step=1)
        run.flush()
        assert server.asked.wait(60)
        server.gone = False
    assert "warning" not in capsys.readouterr().out
    assert curve(client, run.run_id, "loss") == [(1, 3.0)]


def test_what_is_sent_twice_stands_once(project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the store may get lost after it has written."""
    monkeypatch.setattr(Spool, "mark_sent", lambda self, number: (_ for _ in ()).throw(OSError("answer lost")))
    (project / "data").mkdir()
    with stage("learn_policy", seed=0) as run:
        run.log_metrics({"loss": 3.0, "nan": float("nan")}, step=1)
        run.log_params({"lr": 0.1})
        run.log_model("policy", write_model)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert list(sender.sync())
    assert curve(client, run.run_id, "loss") == [(1, 3.0)]
    assert len(client.get_metric_history(str(run.run_id), "nan")) == 1
    experiment = client.get_run(str(run.run_id)).info.experiment_id
    (model,) = client.search_logged_models([experiment])
    assert (model.name, model.source_run_id, model.status) == ("policy", run.run_id, "READY")
    outputs = client.get_run(str(run.run_id)).outputs
    assert outputs is not None
    assert [output.model_id for output in outputs.model_outputs] == [model.model_id]


def write_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\nutc_time_created: '2026-01-01 00:00:00'\n")


def test_an_event_that_the_store_refuses_does_not_hold_up_the_others(
    project: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("learn_policy", seed=0) as run:
        run.log_params({"lr": 0.1})
        run.log_params({"lr": 0.2})  # MLflow keeps the first value
        run.log_metrics({"loss": 3.0}, step=1)
    assert "warning: MLflow store" in capsys.readouterr().out
    assert client.get_run(str(run.run_id)).info.status == "FINISHED"
    assert curve(client, run.run_id, "loss") == [(1, 3.0)]


def test_points_of_a_resumed_stage_stand_once(project: Path, client: MlflowClient) -> None:
    with pytest.raises(KeyboardInterrupt), stage("learn_policy", seed=0) as killed:
        killed.log_metrics({"loss": 3.0}, step=1)
        killed.flush()
        (killed.work / "last.pt").write_text("checkpoint")
        killed.log_metrics({"loss": 2.0}, step=2)
        raise KeyboardInterrupt
    with stage("learn_policy", seed=0) as resumed:
        resumed.log_metrics({"loss": 2.0}, step=2)  # after the resume point: done again
        resumed.log_metrics({"loss": 1.0}, step=3)
    assert resumed.run_id == killed.run_id
    assert curve(client, resumed.run_id, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_killed_stage_has_what_it_logged_before_its_resume_point(project: Path, client: MlflowClient) -> None:
    code = (
        "from pipeline.stages import preflight; preflight.check = lambda *arguments: None\n"
        "from pipeline.stages.stage import stage\n"
        "import os, signal\n"
        "with stage('learn_policy', 0) as run:\n"
        "    run.log_metrics({'loss': 3.0}, step=1)\n"
        "    run.flush()\n"
        "    (run.work / 'last.pt').write_text('checkpoint')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], cwd=project, env=environment).returncode == -signal.SIGKILL
    (folder,) = spools_dir().iterdir()
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "metrics", "poi')  # as a kill in the middle of a write leaves it
    with stage("learn_policy", seed=0) as resumed:
        resumed.log_metrics({"loss": 2.0}, step=2)
    assert resumed.run_id == folder.name
    assert curve(client, resumed.run_id, "loss") == [(1, 3.0), (2, 2.0)]


def test_a_spool_belongs_to_one_process(project: Path) -> None:
    with stage("learn_policy", seed=0) as run:
        run.log_metrics({"loss": 3.0}, step=1)
        run.flush()
        assert list(Spool.left()) == []  # a command beside the stage leaves it alone


def test_a_full_disk_keeps_events_for_later(
    project: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with stage("learn_policy", seed=0) as run, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        run.log_metrics({"loss": 3.0}, step=1)
        run.flush()
        events = spools_dir() / str(run.run_id) / "events.jsonl"
        patch.undo()
        run.log_metrics({"loss": 2.0}, step=2)
        run.flush()
        logged = [json.loads(line).get("points", []) for line in events.read_text().splitlines()]
        assert [point[3] for points in logged for point in points if point[0] == "loss"] == [1, 2]
    assert curve(client, run.run_id, "loss") == [(1, 3.0), (2, 2.0)]
    assert "warning" not in capsys.readouterr().out


def test_the_store_is_not_asked_again_and_again(project: Path, server: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SEND_SECONDS", 10.0)
    with stage("learn_policy", seed=0) as run:
        server.gone = True
        for step in range(2000):
            run.log_metrics({"loss": 1.0}, step=step)
    assert server.tries <= 2
    assert store.refuses(MlflowException("no", error_code=3)) is False
