"""What takes space in the MLflow store of .work: artifacts of old executions, and runs that were deleted there."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlparse

from pipeline.tracking import store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.store.entities import PagedList

T = TypeVar("T")
PARENT = "mlflow.parentRunId"
MANY = 50_000  # MLflow's limit for one search


class StoreWaste:
    """The runs of the store at ``database`` that may go. ``keep`` is the number of executions whose artifacts stay;
    None keeps all. A store elsewhere belongs to those who run it."""

    def __init__(self, database: Path, keep: int | None) -> None:
        from mlflow.entities import ViewType

        self._database, self._uri = database, f"sqlite:///{database}"
        self._client = client = store.client(self._uri)
        self._artifacts = (database.parent / "mlartifacts").resolve()
        experiments = all_pages(lambda token: client.search_experiments(ViewType.ALL, page_token=token))
        ids = [experiment.experiment_id for experiment in experiments]

        def runs(view: int) -> "list[Run]":
            return all_pages(lambda token: client.search_runs(ids, "", view, MANY, page_token=token))

        active, self.deleted = runs(ViewType.ACTIVE_ONLY), runs(ViewType.DELETED_ONLY)
        self._models = all_pages(lambda token: client.search_logged_models(ids, page_token=token)) if ids else []
        self.old = [] if keep is None else [run for run in beyond(active, keep) if self.folders([run])]

    def folders(self, runs: "list[Run]") -> list[Path]:
        """The folders in .work of the files of ``runs``, and of the models that they logged."""
        uris = [run.info.artifact_uri for run in runs]
        uris += [model.artifact_location for model in self._models_of(runs)]
        folders = [folder for uri in uris if (folder := local_folder(uri, self._artifacts)) is not None]
        return [folder for folder in folders if _holds_files(folder)]

    def delete_old(self) -> None:
        """Delete the files of the old executions; their metrics, params and tags stay."""
        models = [m for m in self._models_of(self.old) if local_folder(m.artifact_location, self._artifacts)]
        for folder in self.folders(self.old):
            shutil.rmtree(folder, ignore_errors=True)
        self._delete(models)
        self._collect()

    def delete_deleted(self) -> None:
        """Take the runs that were deleted in MLflow off the disk, which MLflow itself does not."""
        self._delete(self._models_of(self.deleted))
        self._collect()

    def _models_of(self, runs: "list[Run]") -> "list[LoggedModel]":
        ids = {run.info.run_id for run in runs}
        return [model for model in self._models if model.source_run_id in ids]

    def _delete(self, models: "list[LoggedModel]") -> None:
        for model in models:
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


def all_pages(search: "Callable[[str | None], PagedList[T]]") -> list[T]:
    """What a search of MLflow gives, which takes the token of a page."""
    page = search(None)
    items = list(page)
    while page.token:
        items += (page := search(page.token))
    return items


def local_folder(uri: str, above: Path) -> Path | None:
    """The folder of a file URI or a plain path, as MLflow writes them, if it lies below ``above``."""
    parts = urlparse(uri)
    path = Path(unquote(parts.path)).resolve()
    return path if parts.scheme in ("", "file") and above in path.parents else None
