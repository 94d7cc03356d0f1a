"""A training killed at any moment goes on, and ends bit-equal to the one that was left alone."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from resume_worker import KILLED_IN, build, train

from pipeline.tracking.run import StageRun
from pipeline.training import resume
from pipeline.training.resume import ResumePoint

ROOT = Path(__file__).parents[2]
NAMES = ("world_model", "rssm", "sac", "actor_critic", "bc")


def killed(name: str, folder: Path, moment: str) -> None:
    """Train in a process of its own until it is killed."""
    command = [sys.executable, str(ROOT / "tests/resume_worker.py"), name, str(folder), moment]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


def differences(a: Any, b: Any, place: str = "") -> list[str]:
    """Where two nested states differ by as much as a bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [place]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), place
        return [d for key in a for d in differences(a[key], b[key], f"{place}.{key}")]
    if isinstance(a, list | tuple):
        assert len(a) == len(b), place
        return [d for i in range(len(a)) for d in differences(a[i], b[i], f"{place}[{i}]")]
    return [] if a == b else [place]


@pytest.fixture(scope="module")
def unbroken() -> dict[str, dict[str, Any]]:
    return {name: train(build(name), []) for name in NAMES}


@pytest.mark.parametrize("moment", ["epoch", "write"])
@pytest.mark.parametrize("name", NAMES)
def test_killed_training_ends_bit_equal(name: str, moment: str, unbroken: dict[str, Any], tmp_path: Path) -> None:
    killed(name, tmp_path, moment)
    assert (tmp_path / "last.partial").exists() == (moment == "write")
    training = build(name, weights=7)  # other initial weights: everything has to come from the resume point
    resume = ResumePoint(tmp_path)
    assert resume.load_into(training)
    assert training.epochs_done == KILLED_IN - 1
    torch.manual_seed(1234)  # no draw of the training may come from the global generator
    assert differences(train(training, [resume]), unbroken[name]) == []


def test_unequal_states_are_told_apart(unbroken: dict[str, Any]) -> None:
    """The comparison above can fail: other initial weights end elsewhere."""
    found = differences(train(build("bc", weights=7), []), unbroken["bc"])
    assert any(".learner" in place for place in found)
    assert any(".optimizers" in place for place in found)
    assert any(".history" in place for place in found)


def test_a_finished_training_is_only_finished_again(unbroken: dict[str, Any], tmp_path: Path) -> None:
    """Killed after its last epoch and before its outputs were written: the model still comes out the same."""
    first = build("world_model")
    train(first, [resume := ResumePoint(tmp_path)])
    again = build("world_model", weights=7)
    assert resume.load_into(again)
    assert again.finished
    weights = [training.finish().state_dict() for training in (first, again)]
    assert differences(*weights) == []


def test_what_comes_before_a_resume_point_is_stored_before_it(tmp_path: Path) -> None:
    """The metrics of an epoch must reach the disk before a resume point skips that epoch."""
    path = tmp_path / ResumePoint.FILE
    training = build("bc")
    at_call: list[tuple[int, int]] = []

    def note() -> None:
        stored = torch.load(path, weights_only=True)["epochs_done"] if path.exists() else 0
        at_call.append((training.epochs_done, stored))

    train(training, [ResumePoint(tmp_path, every=2, before_save=note)])
    assert at_call == [(2, 0), (4, 2)]


def test_resume_point_of_another_key_is_not_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    before, after = (ResumePoint(StageRun("baseline", 0, {}, key, "bc").work) for key in ("before", "after"))
    train(build("bc"), [before])
    fresh = build("bc")
    assert not after.load_into(fresh)
    assert fresh.epochs_done == 0
    assert before.load_into(fresh)


def test_resume_point_never_runs_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "owned",)

    content = pickle.dumps({"learner": Hostile()})
    (tmp_path / ResumePoint.FILE).write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(pickle.UnpicklingError, match=r"(?i)weights"):
        ResumePoint(tmp_path).load_into(build("bc"))
    assert not (tmp_path / "owned").exists()


@pytest.fixture(scope="module")
def resume_point(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a cloning that did its four epochs."""
    folder = tmp_path_factory.mktemp("whole")
    train(build("bc"), [ResumePoint(folder)])
    return (folder / ResumePoint.FILE).read_bytes()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "truncated": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "zeros at the end": lambda whole: whole[:-4096] + bytes(4096),
    "a flipped bit in the middle": lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
    "text": lambda whole: b"not a resume point, and longer than a digest",
    "foreign": lambda whole: saved({"foreign": 1}),
}


def saved(state: object) -> bytes:
    torch.save(state, buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_resume_point_is_set_aside(damage: str, resume_point: bytes, tmp_path: Path) -> None:
    (tmp_path / ResumePoint.FILE).write_bytes(content := DAMAGES[damage](resume_point))
    said: list[str] = []
    fresh = build("bc")
    assert not (resume := ResumePoint(tmp_path)).load_into(fresh, said.append)
    assert said == [f"warning: {resume.path}: damaged; it is now last.damaged, and the training starts anew"]
    assert fresh.epochs_done == 0
    assert (tmp_path / "last.damaged").read_bytes() == content
    assert not resume.load_into(fresh, said.append)
    assert len(said) == 1


def test_processes_of_one_training_set_a_damaged_resume_point_aside_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them read it before the first moves it."""
    (tmp_path / ResumePoint.FILE).write_bytes(b"damaged")
    judge = resume._is_whole

    def while_the_other_moves_it(path: Path) -> bool:
        whole = judge(path)
        path.replace(path.with_suffix(".damaged"))
        return whole

    monkeypatch.setattr(resume, "_is_whole", while_the_other_moves_it)
    assert not ResumePoint(tmp_path).load_into(build("bc"))
    assert (tmp_path / "last.damaged").read_bytes() == b"damaged"


@pytest.mark.parametrize("state", [{"foreign": 1}, [1, 2], {"learner": {"actor": torch.ones(2)}}])
def test_a_whole_state_of_another_training_is_named(state: object, tmp_path: Path) -> None:
    content = saved(state)
    (tmp_path / ResumePoint.FILE).write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(ValueError, match=r"of another training .*; it is now last.damaged: start again"):
        ResumePoint(tmp_path).load_into(build("bc"))
    assert not ResumePoint(tmp_path).load_into(build("bc"))


def test_a_full_disk_leaves_the_last_resume_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    train(build("bc"), [resume := ResumePoint(tmp_path)])
    before = resume.path.read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"No space left on device: .*last.partial"):
        train(build("bc"), [resume])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert resume.path.read_bytes() == before
