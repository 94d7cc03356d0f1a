"""One MLflow parent run for each execution of the pipeline; its status is RUNNING while one of its stages runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.execution import Execution
from pipeline.tracking.locks import file_lock
from pipeline.tracking.names import parent_name
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import git_commit, git_dirty, locked_keys

if TYPE_CHECKING:
    from mlflow import MlflowClient

FROM_DVC = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
WORST_FIRST = ("FAILED", "KILLED")


def enter(client: "MlflowClient", uri: str, experiment: str, params: Mapping[str, Any]) -> str:
    """The run id of this execution's parent, which its first stage opens. Parents of dead processes are closed."""
    state = work_dir() / "parents.json"
    execution = Execution.current()
    with file_lock(state.with_suffix(".lock")):
        entries = _close_dead(client, uri, _read(state))
        run_id = next((e["run_id"] for e in entries if _is_mine(client, uri, execution, e)), None)
        if run_id is None:
            run_id = _open(client, experiment, execution, params)
            entries.append({**execution.plain(), "uri": uri, "run_id": run_id})
        state.write_text(json.dumps(entries, indent=1))
    client.update_run(run_id, status="RUNNING")
    return run_id


def name_of(params: Mapping[str, Any], dataset: str | None = None) -> str:
    """What this execution's parent is called."""
    return parent_name(params, dataset, os.environ.get("DVC_EXP_NAME"))


def leave(client: "MlflowClient", run_id: str, status: str, time: int | None = None) -> None:
    """Give the parent the worst status of its stages, the last of which ended with ``status`` at ``time``, or now."""
    statuses = {status, *(run.info.status for run in _children(client, run_id))}
    client.set_terminated(run_id, next((s for s in WORST_FIRST if s in statuses), "FINISHED"), time)


def link(client: "MlflowClient", run_id: str, stage: str, made_by: str | None, key: str) -> None:
    """Tag the parent with the key of a stage's current outputs, and with the run that made them."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in _link_tags(stage, made_by, key).items()])


def _link_tags(stage: str, made_by: str | None, key: str) -> dict[str, str]:
    name = stage.replace("@", "-")  # MLflow refuses @ in a tag's name
    return {f"stage.{name}.key": key} | ({} if made_by is None else {f"stage.{name}.run_id": made_by})


def _open(client: "MlflowClient", experiment: str, execution: Execution, params: Mapping[str, Any]) -> str:
    tags = {
        "pipeline.command": execution.command,
        "mlflow.source.name": execution.command,
        "mlflow.source.git.commit": git_commit(),
        "git.dirty": str(git_dirty()).lower(),
        **{name: os.environ[name] for name in FROM_DVC if os.environ.get(name)},
    }
    for stage, key in locked_keys().items():
        tags |= _link_tags(stage, _finished_run(client, experiment, key), key)
    return str(client.create_run(experiment, tags=tags, run_name=name_of(params)).info.run_id)


def _finished_run(client: "MlflowClient", experiment: str, key: str) -> str | None:
    query = f"tags.`pipeline.key` = '{key}' and attributes.status = 'FINISHED'"
    runs = client.search_runs([experiment], query, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _children(client: "MlflowClient", run_id: str) -> list[Any]:
    experiment = client.get_run(run_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'"))


def _is_mine(client: "MlflowClient", uri: str, execution: Execution, entry: dict[str, Any]) -> bool:
    return entry["uri"] == uri and execution.same_process(_execution(entry)) and _exists(client, entry["run_id"])


def _close_dead(client: "MlflowClient", uri: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Close the runs that dead executions left open in this store, and return the other entries. Runs in another store
    are closed when that store is used."""
    dead = [entry for entry in entries if entry["uri"] == uri and not _execution(entry).alive()]
    for entry in dead:
        if _exists(client, entry["run_id"]):
            _kill(client, entry["run_id"])
    return [entry for entry in entries if entry not in dead]


def _kill(client: "MlflowClient", run_id: str) -> None:
    if client.get_run(run_id).info.status != "RUNNING":
        return
    for child in _children(client, run_id):
        if child.info.status == "RUNNING":
            client.set_terminated(child.info.run_id, "KILLED")
    leave(client, run_id, "KILLED")


def _exists(client: "MlflowClient", run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def _execution(entry: dict[str, Any]) -> Execution:
    return Execution(entry["pid"], entry["started"], entry["command"])


def _read(state: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(state.read_text()))
    except (OSError, ValueError):
        return []
