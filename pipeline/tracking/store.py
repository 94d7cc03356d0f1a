"""The MLflow store: its address, and how it is opened."""

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

# What MLflow calls a project that trains models. Without it, the UI opens on traces of language models.
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
SYSTEM_METRICS_SECONDS = 2.0  # stages of a small pipeline end within MLflow's default of ten


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or SQLite in the main project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{work_dir() / 'mlflow.db'}"


def experiment_name() -> str:
    """``MLFLOW_EXPERIMENT_NAME``, or ``offline-mbrl``."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "offline-mbrl"


@lru_cache
def client(uri: str) -> "MlflowClient":
    """The client of the store at ``uri``."""
    _quiet()
    from mlflow import MlflowClient

    return MlflowClient(uri)


def open_experiment(uri: str) -> str:
    """The experiment's id; the first call creates it. Raises ValueError with the fix if the store cannot be opened."""
    check_server(uri)
    _quiet()
    from mlflow.exceptions import MlflowException

    try:
        # The first start creates the tables of SQLite, and two at once break each other's migration.
        with file_lock(work_dir() / "mlflow.lock"):
            return _experiment_id(uri)
    except MlflowException as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"MLflow store {uri}: {first}; correct or unset MLFLOW_TRACKING_URI") from error


def start_fluent_run(run_id: str) -> None:
    """Make ``run_id`` the active run, which models and datasets are logged to, and record system metrics."""
    import mlflow

    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_SECONDS)
    mlflow.start_run(run_id=run_id, log_system_metrics=True)


def end_fluent_run(status: str) -> None:
    """End the active run."""
    import mlflow

    mlflow.end_run(status)


def _experiment_id(uri: str) -> str:
    import mlflow

    mlflow.set_tracking_uri(uri)
    name = experiment_name()
    experiment = client(uri).get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        fix = f"`mlflow experiments restore -x {experiment.experiment_id}`, or set MLFLOW_EXPERIMENT_NAME"
        raise ValueError(f"MLflow store {uri}: experiment `{name}` is deleted; {fix}")
    if experiment is not None:
        if KIND not in experiment.tags:
            client(uri).set_experiment_tag(experiment.experiment_id, KIND, TRAINING)
        return str(experiment.experiment_id)
    folder = (work_dir() / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
    return str(client(uri).create_experiment(name, artifact_location=folder, tags={KIND: TRAINING}))


def check_server(uri: str) -> None:
    """Fail at once if a server does not answer: MLflow itself would retry for minutes."""
    if not uri.startswith("http"):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
    except urllib.error.HTTPError:
        return  # the server answers; hosted stores may lack this page
    except OSError as error:
        fix = "start the server, or unset MLFLOW_TRACKING_URI"
        raise ValueError(f"MLflow store {uri}: not reachable ({error}); {fix}") from None


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow  # noqa: F401  imported first, because its import sets the level of its logger

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
