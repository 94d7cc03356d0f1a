"""What takes space in the MLflow store of .work: artifacts of old executions, and runs that were deleted there."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from pipeline.tracking import store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

PARENT = "mlflow.parentRunId"
MANY = 50_000  # MLflow's limit for one search


class StoreWaste:
    """The runs of the store at ``database`` that may go. ``keep`` is the number of executions whose artifacts stay;
    None keeps all. A store elsewhere belongs to those who run it."""

    def __init__(self, database: Path, keep: int | None) -> None:
        from mlflow.entities import ViewType

        self._database, self._uri = database, f"sqlite:///{database}"
        self._client = store.client(self._uri)
        experiments = [e.experiment_id for e in self._client.search_experiments(ViewType.ALL)]
        active, self.deleted = (
            list(self._client.search_runs(experiments, run_view_type=view, max_results=MANY))
            for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY)
        )
        self._models = self._client.search_logged_models(experiments) if experiments else []
        self.old = [] if keep is None else [run for run in beyond(active, keep) if self.folders([run])]

    def folders(self, runs: "list[Run]") -> list[Path]:
        """The folders of files of ``runs``, and of the models that they logged."""
        models = [_local(model.artifact_location) for model in self._models_of(runs)]
        return [folder for folder in [*(_files_of(run) for run in runs), *models] if _holds_files(folder)]

    def delete_old(self) -> None:
        """Delete the files of the old executions; their metrics, params and tags stay."""
        for run in self.old:
            shutil.rmtree(_files_of(run), ignore_errors=True)
        self._delete_models(self.old)
        self._collect()

    def delete_deleted(self) -> None:
        """Take the runs that were deleted in MLflow off the disk, which MLflow itself does not."""
        self._delete_models(self.deleted)
        self._collect()

    def _models_of(self, runs: "list[Run]") -> "list[LoggedModel]":
        ids = {run.info.run_id for run in runs}
        return [model for model in self._models if model.source_run_id in ids]

    def _delete_models(self, runs: "list[Run]") -> None:
        for model in self._models_of(runs):
            self._client.delete_logged_model(model.model_id)

    def _collect(self) -> None:
        """`mlflow gc`, then give the free pages of the database back. Raises ValueError if MLflow fails."""
        command = ["-m", "mlflow", "gc", "--backend-store-uri", self._uri, "--tracking-uri", self._uri]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"{self._database}: `mlflow gc` failed: {(done.stderr.strip().splitlines() or [''])[-1]}")
        with closing(sqlite3.connect(self._database)) as connection:
            connection.execute("VACUUM")


def beyond(runs: "list[Run]", keep: int) -> "list[Run]":
    """The runs of all executions but the newest ``keep``. A run whose outputs a kept execution uses is kept with it."""
    parents = sorted((r for r in runs if PARENT not in r.data.tags), key=lambda r: r.info.start_time, reverse=True)
    kept = {run.info.run_id for run in parents[:keep]}
    kept |= {run.info.run_id for run in runs if run.data.tags.get(PARENT) in kept}
    kept |= {made_by for run in parents[:keep] for name, made_by in run.data.tags.items() if name.endswith(".run_id")}
    return [run for run in runs if run.info.run_id not in kept]


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _files_of(run: "Run") -> Path:
    return _local(run.info.artifact_uri)


def _local(uri: str) -> Path:
    """The path of a file URI; MLflow writes plain paths too."""
    return Path(unquote(urlparse(uri).path))
