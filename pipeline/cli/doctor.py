"""``doctor``: check this machine and this project before a run."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.log_files import missing_files
from pipeline.tracking import store
from pipeline.tracking.paths import main_project, work_dir
from pipeline.tracking.provenance import PACKAGES, versions

GIGABYTE = 1e9
NEEDED_DISK = 2.0  # gigabytes: the default pipeline with its store and DVC's cache


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``good`` False makes the command fail."""

    name: str
    text: str
    good: bool = True

    def line(self) -> str:
        """The finding as one line of text."""
        return f"{'ok ' if self.good else 'BAD'} {self.name:<12} {self.text}"


def examine() -> Iterator[Finding]:
    """All findings, in the order in which a run would need them."""
    good = sys.version_info >= (3, 11)
    yield Finding("python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}", good)
    installed = versions()
    for name in PACKAGES:
        version = installed.get(name, "not installed; run `pip install -e .`")
        yield Finding(name, version, name in installed)
    checks: dict[str, Callable[[], str]] = {
        "devices": _devices,
        "params.yaml": _params,
        "logs": _logs,
        "mlflow store": _mlflow,
        "dvc cache": _dvc_cache,
        "minari": _minari,
        "disk": _disk,
    }
    for name, check in checks.items():
        try:
            yield Finding(name, check())
        except (ValueError, OSError, ImportError) as error:
            yield Finding(name, " ".join(str(error).split()), good=False)


def _devices() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    others = ["mps"] if torch.backends.mps.is_available() else []
    threads = f"cpu with {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return ", ".join([threads, *gpus, *others])


def _params() -> str:
    from pipeline.params import read_params
    from pipeline.stages.preflight import check

    check(read_params(main_project() / "params.yaml"))
    return "valid"


def _logs() -> str:
    from pipeline.params import read_params, section

    dataset = section(read_params(main_project() / "params.yaml"), "dataset")
    if missing := missing_files(dataset, main_project()):
        raise ValueError("; ".join(missing))
    return str(dataset.get("path"))


def _mlflow() -> str:
    uri = store.tracking_uri()
    experiment = store.open_experiment(uri)
    return f"{uri}, experiment `{store.experiment_name()}` ({experiment})"


def _dvc_cache() -> str:
    folder = main_project() / ".dvc"
    if not folder.exists():
        raise ValueError(f"{folder}: not found; run `dvc init` in the project's root")
    return str(folder / "cache")


def _minari() -> str:
    folder = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    return f"{folder}{'' if folder.exists() else ' (created by the first download)'}"


def _disk() -> str:
    free = shutil.disk_usage(main_project()).free / GIGABYTE
    if free < NEEDED_DISK:
        raise ValueError(f"{free:.1f} GB free at {main_project()}; {NEEDED_DISK:.0f} GB are needed: free some space")
    return f"{free:.1f} GB free, work folder {work_dir()}"
