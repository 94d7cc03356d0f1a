"""Run the pipeline with values of params.yaml changed: a DVC experiment in a temporary copy, read back from git."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.ingest.transform import FOLDER
from pipeline.params import read_params, section, with_settings
from pipeline.tracking.dvc_files import dependency_md5

STARTS = Path("data/start")  # bundles to continue from
PATIENCE = 10.0  # seconds for DVC to end after an interruption


def run_experiment(
    name: str, settings: Mapping[str, str], note: Callable[[str], None] | None = None, target: str | None = None
) -> tuple[str, bool]:
    """The git ref of the experiment ``name``, and whether it had to be run. ``settings`` are values by key of
    params.yaml, as text. ``note`` gets every line that the run prints; without it, they go to the terminal. With a
    ``target``, only that stage and what it depends on run.

    An experiment of the same commit, changes and logs is reused; another one of that name and commit is replaced.
    Raises ValueError without a git commit, outside of a DVC project, and if the run fails.
    """
    head = base_commit()
    logs = _logs(settings)
    ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    message = f"{name}: {', '.join(f'{key} {value}' for key, value in settings.items())}, from {_state(logs)}"
    if _git("show", "-s", "--format=%B", ref) == message:
        return ref, False
    _git("update-ref", "-d", ref)  # DVC's run cache keeps the outputs of its stages
    # ++ also sets an option that params.yaml does not list.
    arguments = [*([target] if target else []), "--temp", "--name", name, "--message", message]
    for key, value in settings.items():
        arguments += ["--set-param", f"++{key}={value}"]
    for path in _untracked(logs):
        arguments += ["--copy-paths", path]
    # Stages call `python`: without an activated environment, that could be another interpreter.
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "exp", "run", *arguments]
    if _run(command, {**os.environ, "PATH": search}, note) != 0:
        raise ValueError(f"{name}: `dvc exp run` failed; see its message above")
    return ref, True


def remove_experiment(name: str) -> None:
    """Forget the experiment ``name`` of the current commit; DVC keeps the outputs of its stages."""
    head = base_commit()
    _git("update-ref", "-d", f"refs/exps/{head[:2]}/{head[2:]}/{name}")


def experiment_ref(name: str) -> str | None:
    """The git ref of the newest DVC experiment of this name; None if there is none."""
    refs = _git("for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps").splitlines()
    return next((ref for ref in refs if ref.rpartition("/")[2] == name and "/exps/exec" not in ref), None)


def commit_of(revision: str) -> str | None:
    """The commit that a git revision names; None if it names none."""
    return _git("rev-parse", "--verify", "-q", f"{revision}^{{commit}}") or None


def read_text(ref: str, path: str) -> str | None:
    """A file of a commit as text; None if git does not have it."""
    return _git("show", f"{ref}:./{path}") or None


def base_commit() -> str:
    """The commit that experiments are based on. Raises ValueError without one, and outside of a DVC project."""
    head = _git("rev-parse", "--verify", "-q", "HEAD^{commit}")
    if not head:
        raise ValueError("DVC experiments need a git commit and there is none; run `git init`, then commit")
    if not Path(".dvc").is_dir():
        raise ValueError(".dvc: not found; run from the project's root, or `dvc init` there")
    return head


def read_result(ref: str, path: str) -> dict[str, Any]:
    """A JSON file that the experiment wrote. Raises ValueError if it does not exist."""
    text = read_text(ref, path)
    if text is None:
        raise ValueError(f"{path}: not in the experiment; track it with git, remove the experiment and run again")
    content: dict[str, Any] = json.loads(text)
    return content


def _run(command: Sequence[str], environment: Mapping[str, str], note: Callable[[str], None] | None) -> int:
    """Run a command to its end, and return its exit code. An interruption of this process ends it too."""
    if note is None:
        return subprocess.run(command, env=environment).returncode
    # A group of its own: DVC leaves Ctrl-C to the stage that runs, and one signal must reach both.
    with subprocess.Popen(
        command,
        env=environment,
        text=True,
        errors="replace",
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as run:
        try:
            for line in run.stdout or ():
                note(line.rstrip("\n"))
        except BaseException:
            os.killpg(run.pid, signal.SIGINT)
            try:
                run.wait(PATIENCE)
            except subprocess.TimeoutExpired:  # under `nohup ... &`, processes ignore SIGINT
                os.killpg(run.pid, signal.SIGTERM)
                run.wait()
            raise
        return run.wait()


def _logs(settings: Mapping[str, str]) -> list[str]:
    """The logs, transforms and bundles that stages read with these settings, which git may not track."""
    block = section(with_settings(read_params(), settings), "dataset")
    more = map(str, [*sorted(FOLDER.glob("*.py")), *sorted(STARTS.glob("*/*"))])
    return list(dict.fromkeys([*(str(block[key]) for key in ("path", "held_out_path") if block.get(key)), *more]))


def _untracked(logs: Sequence[str]) -> list[str]:
    """The logs that git does not copy into DVC's temporary folder; absolute paths work from there anyway."""
    return [path for path in logs if not Path(path).is_absolute() and not _git("ls-files", "--", path)]


def _state(logs: Sequence[str]) -> str:
    """A digest of the logs and of uncommitted changes, results left out."""
    changes = _git("diff", "HEAD", "--binary", "--", ".", ":(exclude)reports", ":(exclude)dvc.lock")
    text = json.dumps([changes, [dependency_md5(Path(path)) for path in logs]])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _git(*arguments: str) -> str:
    """The output of git; empty if git fails or is missing."""
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
