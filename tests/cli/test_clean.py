"""What `clean` lists and deletes, and what it leaves."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.entities import PagedList

from pipeline.cli.clean import clean, in_units
from pipeline.cli.clean_store import all_pages, local_folder
from pipeline.stages.outputs import locked

OLD = time.time() - 40 * 86400


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    for file, is_old in {
        ".work/resume/learn_policy-seed-0/new/last.pt": False,
        ".work/resume/learn_policy-seed-0/new/last.damaged": False,
        ".work/resume/learn_policy-seed-0/old/last.pt": True,
        ".work/locks/ingest.lock": False,
        "data/.partial/learn_policy-seed-0/policy/seed-0/weights": False,
        "data/policy/seed-0/weights": False,
        ".dvc/tmp/exps/standalone/tmpabc/.dvc/config": False,
        ".dvc/tmp/exps/standalone/tmpabc/data/weights": False,
        ".dvc/cache/files/md5/ab/cd": False,
        ".dvc/cache/runs/8b/8b3a/.5RCR.tmp": False,
        ".dvc/cache/runs/8b/8b3a/5e5e": False,
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
        for touched in (path, path.parent) if is_old else ():
            os.utime(touched, (OLD, OLD))
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_deleted_without_being_told(project: Path) -> None:
    before = files(project)
    lines = list(clean(delete=False, days=30, keep=None))
    assert files(project) == before
    assert [" ".join(line.split()) for line in lines] == [
        "1.0 kB 1 resume points that were not used for 30 days",
        "1.0 kB 1 damaged and half-written resume points",
        "1.0 kB 1 locks of stages that were killed",
        "1.0 kB 1 unfinished outputs of stages that were killed",
        "2.0 kB 1 copies of the project that interrupted experiments left",
        "1.0 kB 1 half-written files in DVC's cache, at which `dvc repro` fails",
        "7.0 kB in all; nothing is deleted yet: `python -m pipeline clean --delete` does it",
    ]


def test_what_is_listed_goes_and_the_rest_stays(project: Path) -> None:
    list(clean(delete=True, days=30, keep=None))
    assert files(project) == {
        "params.yaml",
        ".work/resume/learn_policy-seed-0/new/last.pt",
        "data/policy/seed-0/weights",
        ".dvc/cache/files/md5/ab/cd",
        ".dvc/cache/runs/8b/8b3a/5e5e",
    }
    assert len(list(clean(delete=False, days=30, keep=None))) == 1
    list(clean(delete=True, days=0, keep=None))
    assert not list(project.glob(".work/resume/*/*"))


def test_nothing_is_deleted_while_a_stage_runs(project: Path) -> None:
    before = files(project)
    with locked(project / ".work/locks/learn_policy-seed-0.lock", print):
        lines = list(clean(delete=False, days=30, keep=None))
        with pytest.raises(ValueError, match=rf"learn_policy-seed-0 \(process {os.getpid()}\): wait for its end"):
            list(clean(delete=True, days=30, keep=None))
        assert sum("locks of stages" in line and "  1  " in line for line in lines) == 1
    assert files(project) == before
    code = "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, "pipeline.stages.ingest"], stdout=subprocess.PIPE) as stage:
        assert stage.stdout is not None
        stage.stdout.readline()
        with pytest.raises(ValueError, match=rf"pipeline.stages.ingest \(process {stage.pid}\)"):
            list(clean(delete=True, days=30, keep=None))
        stage.kill()


@pytest.mark.slow
def test_artifacts_of_old_executions_and_deleted_runs(project: Path) -> None:
    """A run that a kept execution builds on keeps its files."""
    client = MlflowClient(f"sqlite:///{project / '.work/mlflow.db'}")
    experiment = client.create_experiment("e", artifact_location=(project / ".work/mlartifacts").as_uri())
    times = iter(range(1, 100))

    def run(parent: str | None = None, **tags: str) -> str:
        above = {} if parent is None else {"mlflow.parentRunId": parent}
        run_id = client.create_run(experiment, tags=above | tags, start_time=next(times)).info.run_id
        client.log_metric(run_id, "m", 1.0)
        client.log_text(run_id, "x" * 1000, "file.txt")
        return run_id

    first = run()
    used, unused, thrown_away = run(first), run(first), run(first)
    second = run(**{"stage.learn_policy-0.run_id": used})
    own = run(second)
    client.delete_run(thrown_away)

    def kept() -> set[str]:
        return {path.parents[1].name for path in project.glob(".work/mlartifacts/*/artifacts/file.txt")}

    list(clean(delete=True, days=30, keep=None))
    assert kept() == {first, used, unused, second, own}
    lines = list(clean(delete=False, days=30, keep=1))
    assert [line.split()[:3] for line in lines] == [["2.0", "kB", "2"], ["2.0", "kB", "in"]]
    list(clean(delete=True, days=30, keep=1))
    assert kept() == {used, second, own}
    assert client.get_run(unused).data.metrics == {"m": 1.0}
    assert len(client.search_runs([experiment])) == 5


@pytest.mark.parametrize("uri", ["s3://bucket{}", "mlflow-artifacts:{}", "file://{}", "{}"])
def test_only_files_of_the_own_store_are_deleted(uri: str, project: Path) -> None:
    """The path in the address of a bucket is none of this machine."""
    inside, outside = project / ".work/mlartifacts/1/run", project / "data"
    assert local_folder(uri.format(outside), project / ".work/mlartifacts") is None
    assert local_folder(uri.format(f"{inside}/../../../../data"), project / ".work/mlartifacts") is None
    is_file = uri in ("file://{}", "{}")
    assert local_folder(uri.format(inside), project / ".work/mlartifacts") == (inside if is_file else None)


def test_every_page_of_a_search_is_read() -> None:
    pages = {None: PagedList([1, 2], "a"), "a": PagedList([3], "b"), "b": PagedList([4], None)}
    assert all_pages(lambda token: pages[token]) == [1, 2, 3, 4]


def test_what_waits_for_a_tracking_server_goes_when_it_is_old(project: Path) -> None:
    for name in ("new", "old", "held"):
        spool = project / ".work/tracking" / name
        spool.mkdir(parents=True)
        for file in ("run.json", "events.jsonl"):
            (spool / file).write_text("{}")
        (spool / "lock").touch()  # as sending does, which a store refused
        for path in (spool, *spool.iterdir()) if name != "new" else ():
            os.utime(path, (OLD, OLD))
    os.utime(project / ".work/tracking/old/lock")
    with (project / ".work/tracking/held/lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lines = list(clean(delete=False, days=30, keep=None))
        list(clean(delete=True, days=30, keep=None))
    assert sum("waited more than 30 days" in line and "  1  " in line for line in lines) == 1
    assert {path.name for path in (project / ".work/tracking").iterdir()} == {"new", "held"}


def test_sizes_are_readable() -> None:
    assert [in_units(size) for size in (0, 999, 1000, 2_300_000, 5e9)] == ["0 B", "999 B", "1.0 kB", "2.3 MB", "5.0 GB"]
