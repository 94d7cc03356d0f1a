"""Which weights a run made, and which it continued from: SHA-256 of a bundle -> the run that trained it."""

import hashlib
from contextlib import suppress
from pathlib import Path

from pipeline.tracking import store
from pipeline.tracking.run import StageRun

WEIGHTS = "weights_sha256"  # parameter of the runs that train
WEIGHTS_FILE = "weights.safetensors"
UNKNOWN = "unknown"


def log_weights(run: StageRun, folder: Path) -> None:
    """Log the digest of the weights that ``run`` wrote into ``folder``."""
    if run.is_main:
        run.log_params({WEIGHTS: digest_of(folder)})


def log_start(run: StageRun, folder: Path) -> None:
    """Log where ``run`` starts: the path, the digest of the weights, and the run of the same stage that made them."""
    if run.is_main:
        digest = digest_of(folder)
        made_by = _maker(run, digest)
        run.log_params({"start": {"path": str(folder), WEIGHTS: digest, "run": made_by}})
        run.print(f"continuing from {folder} (sha256 {digest[:12]}, MLflow run {made_by})")


def digest_of(folder: Path) -> str:
    """SHA-256 of the weights in a folder."""
    return hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()


def _maker(run: StageRun, digest: str) -> str:
    """The first run of this project that logged the digest, so that a resumed stage logs the same."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):  # a store that is away must not end a training
        experiment = run.client.get_experiment_by_name(store.experiment_name())
        query = f"params.{WEIGHTS} = '{digest}' and tags.`pipeline.stage` = '{run.name}'"
        ids = [experiment.experiment_id] if experiment else []
        runs = run.client.search_runs(ids, query, max_results=1, order_by=["attributes.start_time ASC"]) if ids else []
        return str(runs[0].info.run_id) if runs else UNKNOWN
    return UNKNOWN
