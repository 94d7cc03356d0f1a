"""The MLflow store: its address, and how it is opened."""

import http.client
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tracking.locks import file_lock
from pipeline.tracking.paths import work_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What MLflow calls a project that trains models. Without it, the UI opens on traces of language models.
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
REFUSED, ABSENT = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"}, "RESOURCE_DOES_NOT_EXIST"
LONGEST_REASON = 160  # signs
FULL = "database or disk is full"  # as SQLite says it
HALF_MADE = re.compile(r"table \S+ already exists|duplicate column name|Online migration expected")


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or SQLite in the main project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{work_dir() / 'mlflow.db'}"


def experiment_name() -> str:
    """``MLFLOW_EXPERIMENT_NAME``, or ``offline-mbrl``."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "offline-mbrl"


@lru_cache
def client(uri: str) -> "MlflowClient":
    """The client of the store at ``uri``, which is made if it does not exist. Raises ValueError with the fix if it
    cannot be opened."""
    _quiet()
    from mlflow import MlflowClient

    database = database_file(uri)
    with one_line_errors(uri):
        if database is None:
            return MlflowClient(uri)
        # The first start makes the tables of SQLite, and two at once break each other's migration.
        with file_lock(_lock_of(uri)):
            if not database.exists() or database.stat().st_size == 0:
                _make(database)
            opened = MlflowClient(uri)
            opened.search_experiments(max_results=1)
            return opened


def connect(uri: str) -> "MlflowClient":
    """The client of the store at ``uri``. Raises ValueError with the fix if it does not answer or cannot be opened."""
    check_server(uri)
    return client(uri)


def open_experiment(uri: str) -> str:
    """The experiment's id; the first call creates it. Raises ValueError with the fix if the store cannot be opened."""
    connect(uri)
    with one_line_errors(uri), file_lock(_lock_of(uri)):
        return _experiment_id(uri)


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store, absolute and without links; None for other stores."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return Path(name).resolve() if name and not name.startswith((":", "file:")) else None


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Whatever a store raises inside the block becomes a ValueError of one line."""
    from mlflow.exceptions import MlflowException

    errors: tuple[type[Exception], ...] = (MlflowException, OSError, ImportError, *_database_errors(uri))
    try:
        yield
    except errors as error:
        fix = "correct or unset MLFLOW_TRACKING_URI"
        if HALF_MADE.search(str(error)):
            fix = f"its first start was interrupted and left half of its tables: move {database_file(uri)} away"
        if FULL in str(error):
            raise ValueError(f"MLflow store {uri}: {FULL}; free some space and start again") from error
        raise ValueError(f"MLflow store {uri}: {reason_of(error)}; {fix}") from error


def reason_of(error: Exception) -> str:
    """The first line of an error, shortened; of a failed request, what failed."""
    if "failed with exception" in str(error):
        cause = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
        return "does not answer" if cause is None else f"does not answer ({cause[1]})"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= LONGEST_REASON else f"{lines[0][:LONGEST_REASON]}…"


def refuses(error: Exception) -> bool:
    """Whether the store will not take this event at the next try either, for example of a run that the user deleted."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in REFUSED


def lacks_run(error: Exception) -> bool:
    """Whether the store never had the run, or has it no more: a server of another store may have its address now."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code == ABSENT


def _lock_of(uri: str) -> Path:
    """One lock for all who share an SQLite store, wherever they work."""
    database = database_file(uri)
    return work_dir() / "mlflow.lock" if database is None else database.with_name(f"{database.name}.lock")


def _database_errors(uri: str) -> tuple[type[Exception], ...]:
    if not uri.startswith("sqlite"):
        return ()
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    return (SQLAlchemyError, CommandError)


def _make(database: Path) -> None:
    """Make the tables in a file beside ``database``, which appears when they are complete: a kill leaves no half."""
    from mlflow import MlflowClient

    partial = database.with_name(f"{database.name}.partial")
    database.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(database)


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
    except (OSError, ValueError, http.client.HTTPException) as error:  # the last two: the address is none
        fix = "start the server, or unset MLFLOW_TRACKING_URI"
        raise ValueError(f"MLflow store {uri}: not reachable ({error}); {fix}") from None


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow  # noqa: F401  imported first, because its import sets the level of its logger

    for name in ("mlflow", "alembic", "urllib3.connectionpool"):  # the last warns before it tries again
        logging.getLogger(name).setLevel(logging.ERROR)
    # It prints the traceback of a locked or full database before it raises the error, which we say in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
