"""The pipeline with one value of params.yaml changed: a DVC experiment in a temporary copy, then read from git."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.ingest.transform import FOLDER
from pipeline.params import read_params, section
from pipeline.tracking.dvc_files import dependency_md5


def run_experiment(name: str, key: str, value: float) -> tuple[str, bool]:
    """The git ref of the experiment ``name``, and whether it had to be run: one of the same commit, changes and logs is
    taken as it is, another one of that name and commit is replaced. Raises ValueError where git has no commit, outside
    of a DVC project, and when the run fails."""
    head, logs = _head(), _logs()
    ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
    message = f"{name}: {key} {value}, from {_state(logs)}"
    if _git("show", "-s", "--format=%B", ref) == message:
        return ref, False
    _git("update-ref", "-d", ref)  # what its training stages made stays in DVC's run cache
    # ++ also sets an option that params.yaml leaves to its default.
    arguments = ["--temp", "--name", name, "--message", message, "--set-param", f"++{key}={value}"]
    for path in _untracked(logs):
        arguments += ["--copy-paths", path]
    # Stages call `python`, which without an activated environment is another one.
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "dvc", "exp", "run", *arguments]
    if subprocess.run(command, env={**os.environ, "PATH": search}).returncode != 0:
        raise ValueError(f"{name}: `dvc exp run` failed; its message stands above")
    return ref, True


def read_result(ref: str, path: str) -> dict[str, Any]:
    """A JSON file of the project as the experiment left it. Raises ValueError when it is not there."""
    text = _git("show", f"{ref}:./{path}")
    if not text:
        raise ValueError(f"{path}: not in the experiment; let git track it, then remove the experiment and run again")
    found: dict[str, Any] = json.loads(text)
    return found


def _head() -> str:
    """The commit that experiments stand on."""
    head = _git("rev-parse", "--verify", "-q", "HEAD^{commit}")
    if not head:
        raise ValueError("DVC experiments stand on a git commit and there is none; run `git init`, then commit")
    if not Path(".dvc").is_dir():
        raise ValueError(".dvc: not found; run from the project's root, or `dvc init` there")
    return head


def _logs() -> list[str]:
    """What ingest reads besides the project's own code, and git may not know."""
    block = section(read_params(), "dataset")
    transforms = map(str, sorted(FOLDER.glob("*.py")))
    return list(dict.fromkeys([*(str(block[key]) for key in ("path", "held_out_path") if block.get(key)), *transforms]))


def _untracked(logs: Sequence[str]) -> list[str]:
    """The logs that git does not carry into DVC's temporary copy; absolute paths are found from there."""
    return [path for path in logs if not Path(path).is_absolute() and not _git("ls-files", "--", path)]


def _state(logs: Sequence[str]) -> str:
    """Equal where one commit and its uncommitted changes, but for results, and the logs are equal."""
    changes = _git("diff", "HEAD", "--binary", "--", ".", ":(exclude)reports")
    text = json.dumps([changes, [dependency_md5(Path(path)) for path in logs]])
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _git(*arguments: str) -> str:
    """What git prints; empty where it fails or is missing."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
