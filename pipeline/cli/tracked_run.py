"""Finished runs of the pipeline in the MLflow store, for ``compare``: the parents of its experiment."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.cli.compared_run import ESTIMATORS, ComparedRun, in_commit, left_out, policy_returns, stages_of
from pipeline.cli.experiment import experiment_ref
from pipeline.tracking.assets import logged_datasets
from pipeline.tracking.provenance import locked_key
from pipeline.tracking.store import check_server, client, experiment_name, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Run

ARTIFACT = "returns/returns.npz"  # of the stage `evaluate`
EVALUATED = ("evaluate/", "offline/")  # prefixes of the metrics that this stage gives the parent


def parents() -> "list[Run]":
    """The finished parent runs that evaluated a policy, the oldest first. Raises ValueError if the server of the store
    does not answer."""
    check_server(tracking_uri())
    store = client(tracking_uri())
    experiment = store.get_experiment_by_name(experiment_name())
    # The store answers with 1,000 runs at most, and most runs are stages.
    query = "tags.`stage.evaluate.run_id` LIKE '%' and attributes.status = 'FINISHED'"
    runs = store.search_runs([experiment.experiment_id], query, max_results=1000) if experiment else []
    return [run for run in reversed(runs) if _is_parent(run)]


def find_parent(name: str, runs: "list[Run]") -> "Run | None":
    """The newest of the parents ``runs`` with this id, the first part of it, or this name."""
    return next(
        (
            run
            for run in reversed(runs)
            if name == run.info.run_name or (len(name) >= 6 and run.info.run_id.startswith(name))
        ),
        None,
    )


def from_parent(parent: "Run") -> ComparedRun:
    """The results that a parent and its stages logged."""
    store, metrics, name = client(tracking_uri()), parent.data.metrics, str(parent.info.run_name)
    evaluate = store.get_run(parent.data.tags["stage.evaluate.run_id"])
    datasets = logged_datasets(evaluate)
    mean = metrics.get("evaluate/policy_return_mean")
    returns = None if mean is None else policy_returns(_artifact(evaluate.info.run_id))
    keys = [key for estimator in ESTIMATORS for key in (estimator, f"{estimator}_low")]
    return ComparedRun(
        name=name,
        settings=dict(parent.data.params),
        dataset=f"{datasets[0].name} {datasets[0].digest[:6]}" if datasets else "",
        seeds=len(json.loads(parent.data.params.get("seeds", "[]"))),
        returns=returns,
        return_mean=mean,
        estimates={key: metrics[f"offline/{key}"] for key in keys if f"offline/{key}" in metrics},
        status=parent.data.tags.get("pipeline.status"),
        seconds=_seconds_of_parent(parent),
        missing=(left_out(name, f"artifact {ARTIFACT} of its run `evaluate`"),)
        if mean is not None and returns is None
        else (),
    )


def seconds_of(stages: Mapping[str, Any]) -> float | None:
    """Wall time of the stages of a dvc.lock, by the runs of the MLflow store that made them; None if one is missing."""
    store = client(tracking_uri())
    experiment = store.get_experiment_by_name(experiment_name())
    if experiment is None or not stages:
        return None
    ids = []
    for name, entry in stages.items():
        query = f"tags.`pipeline.key` = '{locked_key(name, entry)}' and attributes.status = 'FINISHED'"
        runs = store.search_runs([experiment.experiment_id], query, max_results=1)
        if not runs:
            return None
        ids.append(runs[0].info.run_id)
    return _seconds(ids)


def _seconds_of_parent(parent: "Run") -> float | None:
    """A DVC experiment takes stages from the cache that its parent does not know, so its dvc.lock is asked."""
    name = parent.data.tags.get("DVC_EXP_NAME")
    if name is None:
        return _seconds([value for key, value in parent.data.tags.items() if _links_a_run(key)])
    ref = experiment_ref(name)
    return None if ref is None else seconds_of(stages_of(in_commit(ref)))


def _seconds(run_ids: list[str]) -> float | None:
    """Wall time of stages together; None if one has not ended."""
    store = client(tracking_uri())
    infos = [store.get_run(run_id).info for run_id in run_ids]
    if not infos or any(info.end_time is None for info in infos):
        return None
    return sum(info.end_time - info.start_time for info in infos) / 1000


def _is_parent(run: "Run") -> bool:
    evaluated = any(key.startswith(EVALUATED) for key in run.data.metrics)
    return "pipeline.command" in run.data.tags and "stage.evaluate.run_id" in run.data.tags and evaluated


def _links_a_run(tag: str) -> bool:
    return tag.startswith("stage.") and tag.endswith(".run_id")


def _artifact(run_id: str) -> bytes | None:
    from mlflow.exceptions import MlflowException

    store = client(tracking_uri())
    with TemporaryDirectory() as folder:
        try:
            return Path(store.download_artifacts(run_id, ARTIFACT, folder)).read_bytes()
        except (MlflowException, OSError):
            return None
