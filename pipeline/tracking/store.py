"""The MLflow store: where it is, and how it is opened."""

import logging
import os
import urllib.error
import urllib.request
from functools import lru_cache
from typing import TYPE_CHECKING

from pipeline.tracking.locks import file_lock
from pipeline.tracking.paths import work_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

SYSTEM_METRICS_SECONDS = 2.0  # stages of a small pipeline end within MLflow's default of ten


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, else sqlite in the main project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{work_dir() / 'mlflow.db'}"


def experiment_name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "offline-mbrl"


@lru_cache
def client(uri: str) -> "MlflowClient":
    _quiet()
    from mlflow import MlflowClient

    return MlflowClient(uri)


def open_experiment(uri: str) -> str:
    """The experiment's id, made at first use. Raises ValueError with the fix when the store cannot be opened."""
    _check_server(uri)
    _quiet()
    from mlflow.exceptions import MlflowException

    try:
        # The first start creates the tables of sqlite; two at once break each other's migration.
        with file_lock(work_dir() / "mlflow.lock"):
            return _experiment_id(uri)
    except MlflowException as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"MLflow store {uri}: {first}; mend or unset MLFLOW_TRACKING_URI") from error


def start_fluent_run(run_id: str) -> None:
    """Make ``run_id`` MLflow's active run, with system metrics; models and datasets are logged to the active run."""
    import mlflow

    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_SECONDS)
    mlflow.start_run(run_id=run_id, log_system_metrics=True)


def end_fluent_run(status: str) -> None:
    import mlflow

    mlflow.end_run(status)


def _experiment_id(uri: str) -> str:
    import mlflow

    mlflow.set_tracking_uri(uri)
    name = experiment_name()
    found = client(uri).get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage != "active":
        fix = f"`mlflow experiments restore -x {found.experiment_id}`, or set MLFLOW_EXPERIMENT_NAME"
        raise ValueError(f"MLflow store {uri}: experiment `{name}` is deleted; {fix}")
    if found is not None:
        return str(found.experiment_id)
    folder = (work_dir() / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
    return str(client(uri).create_experiment(name, artifact_location=folder))


def _check_server(uri: str) -> None:
    """MLflow tries a server that does not answer for minutes; this fails at once."""
    if not uri.startswith("http"):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
    except urllib.error.HTTPError:
        return  # it answers; hosted stores need not have this page
    except OSError as error:
        fix = "start the server, or unset MLFLOW_TRACKING_URI"
        raise ValueError(f"MLflow store {uri}: not reachable ({error}); {fix}") from None


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow  # noqa: F401  its import sets the level of its logger, so ours comes after

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
