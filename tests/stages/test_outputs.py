"""One process owns the outputs of a stage; an orphan of DVC and a stage that fails leave them as they were."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline.cli.clean import clean
from pipeline.stages import outputs, preflight
from pipeline.stages.outputs import Outputs, locked
from pipeline.stages.stage import Stage, stage

ROOT = Path(preflight.__file__).parents[2]
SECONDS = 120  # a limit for a machine under load; all of it takes a few
LIVES = """
import time
from pathlib import Path
from pipeline.stages import preflight; preflight.check = lambda *arguments: None
from pipeline.stages.stage import stage
with stage('learn_policy', 0) as run:
    run.output('data/policy').write_text('of the orphan')
    Path('started').touch()
    while not Path('go on').exists(): time.sleep(0.1)
"""
DVC = """
import os, subprocess, sys
subprocess.run([sys.executable, '-c', open('stage.py').read()], env={**os.environ, 'DVC_STAGE': 'learn_policy@0'})
"""


@pytest.fixture
def project(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    (bare_project / "stage.py").write_text(LIVES)
    (bare_project / "dvc").write_text(DVC)  # a process counts as DVC by its name
    (bare_project / "data").mkdir()
    (bare_project / "data/policy").write_text("of the run before")
    return bare_project


def wait_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_the_dvc_that_started_it(number: signal.Signals, project: Path) -> None:
    dvc = subprocess.Popen([sys.executable, "dvc"], stderr=subprocess.PIPE, text=True)
    assert wait_for((project / "started").exists)
    (orphan,) = psutil.Process(dvc.pid).children()
    dvc.send_signal(number)
    dvc.wait()
    assert wait_for(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
    (project / "go on").touch()
    assert dvc.stderr is not None
    said = dvc.stderr.read()
    assert f"(process {dvc.pid}) ended, so this stage ends too" in said
    assert "Traceback" not in said
    assert Path("data/policy").read_text() == "of the run before"
    assert list(Path("data/.partial").iterdir()) == []


def test_a_stage_started_by_hand_outlives_its_shell(project: Path) -> None:
    subprocess.run([f"{sys.executable} stage.py & echo $! > pid"], shell=True, check=True)
    hand = psutil.Process(int(Path("pid").read_text()))
    assert wait_for((project / "started").exists)
    time.sleep(1)
    (project / "go on").touch()
    assert wait_for(lambda: not hand.is_running() or hand.status() == psutil.STATUS_ZOMBIE)
    assert Path("data/policy").read_text() == "of the orphan"


@pytest.mark.parametrize(
    ("variables", "session", "gone"),
    [
        ({"DVC_STAGE": "ingest"}, True, "True"),  # DVC ended while Python started
        ({"DVC_STAGE": "ingest"}, False, "False"),  # a script that calls DVC's library
        ({"DVC_STAGE": "ingest", "SLURM_PROCID": "0"}, True, "False"),
        ({}, True, "False"),
    ],
)
def test_an_orphan_by_birth(variables: dict[str, str], session: bool, gone: str, project: Path) -> None:
    code = "from pipeline.stages.launcher import Launcher; print(Launcher().gone())"
    command, environment = [sys.executable, "-c", code], {**os.environ, **variables}
    said = subprocess.run(command, env=environment, start_new_session=session, capture_output=True, text=True)
    assert said.stdout.strip() == gone, said.stderr


@pytest.mark.parametrize("step", [-3600.0, 5.0, 3600.0])
def test_a_new_time_on_the_clock_ends_no_stage(step: float, project: Path) -> None:
    """Linux counts the start of a process from the boot, so a new time on the clock moves the boot to psutil."""
    code = f"""
import psutil
from pipeline.stages.launcher import Launcher
launcher = Launcher()
booted = psutil._psplatform.boot_time
psutil._psplatform.boot_time = lambda: booted() + {step}
print(launcher._dvc is not None, launcher.gone())
"""
    (project / "stage.py").write_text(code)
    said = subprocess.run([sys.executable, "dvc"], capture_output=True, text=True)
    assert said.stdout.strip() == "True False", said.stderr


def test_the_second_run_waits_then_says_who_holds_the_lock(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outputs, "PATIENCE", 0.5)
    first = subprocess.Popen([sys.executable, "stage.py"])
    assert wait_for((project / "started").exists)
    with pytest.raises(SystemExit), stage("learn_policy", 0):
        raise AssertionError("must not be reached")
    said = capsys.readouterr()
    assert said.out.count(f"waiting for process {first.pid}, ") == 1
    assert f"process {first.pid} writes the same outputs; wait for its end" in said.err
    with stage("learn_policy", 1):
        pass
    first.kill()
    first.wait()
    with stage("learn_policy", 0) as second:
        second.output("data/policy").write_text("of the second")
    assert Path("data/policy").read_text() == "of the second"
    assert list(Path(".work/locks").iterdir()) == []


def test_who_lost_the_lock_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), stage("learn_policy", 0) as run:
        run.output("data/policy").write_text("of the first")
        Path(".work/locks/learn_policy-seed-0.lock").unlink()
        with locked(Path(".work/locks/learn_policy-seed-0.lock"), print) as lock:
            other = Outputs("other", lock)
            other.path("data/policy").write_text("of the second")
            other.publish()
    assert "deleted while this stage ran" in capsys.readouterr().err
    assert Path("data/policy").read_text() == "of the second"


def write(run: Stage, text: str) -> None:
    folder = run.output("data/baselines/seed-0/bc")
    folder.mkdir()
    (folder / text).write_text(text)
    run.output("reports/metrics/bc.json").write_text(text)


def test_outputs_are_replaced_as_a_whole_by_a_stage_that_succeeds(project: Path) -> None:
    for text in ("first", "second"):
        with stage("baseline", 0, choice="bc") as run:
            write(run, text)
    with pytest.raises(SystemExit), stage("baseline", 0, choice="bc") as run:
        write(run, "third")
        raise ValueError("no good")
    assert [path.name for path in Path("data/baselines/seed-0/bc").iterdir()] == ["second"]
    assert Path("reports/metrics/bc.json").read_text() == "second"
    assert [path for top in ("data", "reports") for path in Path(top).glob(".partial/*")] == []


def test_stages_that_begin_and_end_at_once_leave_each_other_alone(project: Path) -> None:
    """Each has a folder of its own in the folder of all."""

    def begin_and_end(label: str) -> None:
        for _ in range(300):
            with (run := Outputs(label, None)).scratch():
                run.path("data/policy/seed-0").touch()

    with ThreadPoolExecutor() as pool:
        list(pool.map(begin_and_end, ["a", "b", "c", "d"]))


REPLACES = """
import os, shutil, sys
from pathlib import Path
from pipeline.stages.outputs import Outputs, locked
moves, move = [], shutil.move
def interrupt(*paths):
    if moves: eval(sys.argv[1])
    moves.append(move(*paths))
shutil.move = interrupt
with locked(Path('lock'), print) as lock, (run := Outputs('ingest', lock)).scratch():
    new = run.path('data/dataset/part')
    new.mkdir()
    (new / 'rows').write_text('new')
    try: run.publish()
    finally: moves.clear()
"""


@pytest.mark.parametrize("end", ["sys.exit(143)", "os._exit(137)"])
@pytest.mark.parametrize("helper", ["the next start", "clean"])
def test_an_end_in_the_middle_of_a_replacement_keeps_the_old_output(end: str, helper: str, project: Path) -> None:
    (project / "data/dataset/part").mkdir(parents=True)
    (project / "data/dataset/part/rows").write_text("old")
    assert subprocess.run([sys.executable, "-c", REPLACES, end]).returncode in (143, 137)
    if helper == "clean":
        list(clean(delete=True, days=30, keep=None))
    else:
        with Outputs("ingest", None).scratch():
            pass
    assert Path("data/dataset/part/rows").read_text() == "old"
    assert list(Path("data/.partial").glob("*")) == []


@pytest.mark.parametrize("target", ["folder", "file", "nothing"])
@pytest.mark.parametrize("new", ["folder", "file"])
def test_an_output_replaces_a_link_and_not_what_it_points_at(target: str, new: str, project: Path) -> None:
    """DVC links outputs to its cache where it is told to."""
    elsewhere, final = project / "elsewhere", Path("data/world_model/seed-0")
    final.parent.mkdir()
    if target == "folder":
        elsewhere.mkdir()
        (elsewhere / "weights").write_text("cached")
    elif target == "file":
        elsewhere.write_text("cached")
    final.symlink_to(elsewhere)
    with locked(project / "lock", print) as lock, (run := Outputs("fit_world_model", lock)).scratch():
        path = run.path(final)
        if new == "folder":
            path.mkdir()
            path /= "weights"
        path.write_text("new")
        run.publish()
    assert not final.is_symlink()
    assert [path.read_text() for path in (final, *final.glob("*")) if path.is_file()] == ["new"]
    assert [path.read_text() for path in (elsewhere, *elsewhere.glob("*")) if path.is_file()] == (
        [] if target == "nothing" else ["cached"]
    )


def test_a_lock_whose_holder_ends_just_now_has_no_name(project: Path) -> None:
    assert outputs.holder_of(project / "gone.lock") == "unknown"
