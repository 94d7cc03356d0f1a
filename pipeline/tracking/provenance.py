"""What a result was made from: stage keys, the git commit, package versions.

A stage's key is the md5 of its dependencies' md5s and its parameters. The key computed while a stage runs equals the
key computed later from dvc.lock, so the MLflow run that made a cached stage can be found.
"""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.tracking.dvc_files import dependency_md5, read_yaml, stage_definitions

PACKAGES = (
    *("torch", "lightning", "mlflow", "minari", "gymnasium", "mujoco", "dvc", "omegaconf", "einops", "numpy", "scipy"),
    *("h5py", "matplotlib", "safetensors"),
)


def address(name: str, seed: int | None, choice: str | None = None) -> str:
    """The stage's name in DVC: ``ingest``, ``learn_policy@0``, ``baseline@bc-0``."""
    axes = [str(axis) for axis in (choice, seed) if axis is not None]
    return f"{name}@{'-'.join(axes)}" if axes else name


def label(name: str, seed: int | None, choice: str | None = None) -> str:
    """What the stage's own files are called: ``ingest``, ``learn_policy-seed-0``, ``baseline-bc-seed-0``."""
    parts = [name, choice, None if seed is None else f"seed-{seed}"]
    return "-".join(part for part in parts if part is not None)


def stage_key(stage: str, params: Mapping[str, Any]) -> str:
    """The key of a stage that is about to run. Without an entry in dvc.yaml, it covers the name and all parameters."""
    definition = stage_definitions(Path("dvc.yaml")).get(stage)
    if definition is None:
        return _digest(stage, {}, dict(params))
    outs = _locked_outs(_lock())
    deps = {path: outs.get(path) or dependency_md5(Path(path)) for path in definition.deps}
    used = {
        file: {key: _lookup(read_yaml(Path(file)), key) for key in keys} for file, keys in definition.params.items()
    }
    return _digest(stage, deps, used)


def locked_keys() -> dict[str, str]:
    """The key of every stage in dvc.lock that dvc.yaml still defines."""
    defined = stage_definitions(Path("dvc.yaml"))
    return {name: locked_key(name, entry) for name, entry in _lock().items() if name in defined}


def locked_key(stage: str, entry: Mapping[str, Any]) -> str:
    """The key of one stage from its entry in dvc.lock."""
    deps = {dep["path"]: dep.get("md5", "") for dep in entry.get("deps", [])}
    return _digest(stage, deps, entry.get("params", {}))


def git_commit() -> str:
    """The current commit, or "unknown" outside git."""
    return _git("rev-parse", "--verify", "-q", "HEAD") or "unknown"


def git_dirty() -> bool:
    """Whether tracked files differ from the current commit."""
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


def versions() -> dict[str, str]:
    """Installed versions of the packages that influence results; missing packages are left out."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _digest(stage: str, deps: Mapping[str, str], params: Mapping[str, Any]) -> str:
    text = json.dumps([stage, deps, params], sort_keys=True, default=str)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _lock() -> dict[str, Any]:
    return read_yaml(Path("dvc.lock")).get("stages", {})


def _locked_outs(lock: Mapping[str, Any]) -> dict[str, str]:
    return {out["path"]: out["md5"] for entry in lock.values() for out in entry.get("outs", []) if "md5" in out}


def _lookup(tree: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _git(*arguments: str) -> str:
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
