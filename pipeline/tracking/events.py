"""The kinds of events that wait in a spool, and how each is sent. To send one twice changes nothing in MLflow."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.tracking import parent
from pipeline.tracking.spool import Event

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAMS_PER_CALL, METRICS_PER_CALL = 100, 1000  # MLflow's limits for one batch
LONGEST_PARAM = 6000  # signs, MLflow's limit
Entry = TypeVar("Entry")
Point = tuple[str, float, int, int]  # key, value, milliseconds since the epoch, step


def metrics(run: str, points: Sequence[Point]) -> list[Event]:
    """Points of curves."""
    parts = _parts(points, METRICS_PER_CALL)
    return [{"kind": "metrics", "run": run, "points": part} for part in parts]


def params(run: str, values: Mapping[str, Any]) -> list[Event]:
    """Parameters, by dotted keys."""
    flat = [(key, str(value)[:LONGEST_PARAM]) for key, value in values.items()]
    return [{"kind": "params", "run": run, "values": part} for part in _parts(flat, PARAMS_PER_CALL)]


def tags(run: str, values: Mapping[str, str]) -> Event:
    """Tags of a run."""
    return {"kind": "tags", "run": run, "values": dict(values)}


def name(run: str, text: str) -> Event:
    """A new name of a run."""
    return {"kind": "name", "run": run, "name": text}


def dataset(run: str, entry: Mapping[str, Any]) -> Event:
    """A dataset as MLflow's dict, an input of a run."""
    return {"kind": "dataset", "run": run, "dataset": dict(entry)}


def artifact(run: str, path: Path, folder: str | None) -> Event:
    """A file, or the content of a folder, at ``path`` below the spool's folder."""
    return {"kind": "artifact", "run": run, "path": str(path), "folder": folder}


def model(run: str, path: Path, title: str) -> Event:
    """An MLflow model in a folder at ``path`` below the spool's folder."""
    return {"kind": "model", "run": run, "path": str(path), "name": title}


def end(run: str, status: str, time: int) -> Event:
    """The end of a stage's run, in milliseconds since the epoch."""
    return {"kind": "end", "run": run, "status": status, "time": time}


def leave(run: str, status: str, time: int) -> Event:
    """The parent's status after a stage that ended with ``status`` at a time in milliseconds since the epoch."""
    return {"kind": "leave", "run": run, "status": status, "time": time}


def send(client: "MlflowClient", event: Event, spool: Path) -> None:
    """Send one event of the spool in a folder. Raises what MLflow raises."""
    _SENDERS[event["kind"]](client, event, spool)


def carries_files(event: Event) -> bool:
    """Whether the event goes to the store of artifacts, which may be away while the rest can be sent."""
    return "path" in event


def closes(event: Event) -> bool:
    """Whether the event ends a run or its part in the parent, which the user waits for."""
    return event["kind"] in ("end", "leave")


def _parts(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[i : i + size] for i in range(0, len(entries), size)]


def _metrics(client: "MlflowClient", event: Event, spool: Path) -> None:
    from mlflow.entities import Metric

    client.log_batch(event["run"], metrics=[Metric(*point) for point in event["points"]])


def _params(client: "MlflowClient", event: Event, spool: Path) -> None:
    from mlflow.entities import Param

    client.log_batch(event["run"], params=[Param(*pair) for pair in event["values"]])


def _tags(client: "MlflowClient", event: Event, spool: Path) -> None:
    from mlflow.entities import RunTag

    client.log_batch(event["run"], tags=[RunTag(*pair) for pair in event["values"].items()])


def _name(client: "MlflowClient", event: Event, spool: Path) -> None:
    client.update_run(event["run"], name=event["name"])


def _dataset(client: "MlflowClient", event: Event, spool: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entry = DatasetInput(Dataset(**event["dataset"]), [InputTag("mlflow.data.context", "training")])
    client.log_inputs(event["run"], [entry])


def _artifact(client: "MlflowClient", event: Event, spool: Path) -> None:
    path = spool / event["path"]
    log = client.log_artifacts if path.is_dir() else client.log_artifact
    log(event["run"], str(path), event["folder"])


def _model(client: "MlflowClient", event: Event, spool: Path) -> None:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    run, folder = event["run"], spool / event["path"]
    model = Model.load(str(folder))
    if model.model_id is None:  # else a try before this one was cut off
        entry = client.create_logged_model(client.get_run(run).info.experiment_id, event["name"], source_run_id=run)
        model.model_id, model.run_id, model.artifact_path = entry.model_id, run, entry.artifact_location
        model.save(str(folder / MLMODEL_FILE_NAME))
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _end(client: "MlflowClient", event: Event, spool: Path) -> None:
    client.set_terminated(event["run"], event["status"], event["time"])


def _leave(client: "MlflowClient", event: Event, spool: Path) -> None:
    parent.leave(client, event["run"], event["status"], event["time"])


_SENDERS: dict[str, Callable[["MlflowClient", Event, Path], None]] = {
    "metrics": _metrics,
    "params": _params,
    "tags": _tags,
    "name": _name,
    "dataset": _dataset,
    "artifact": _artifact,
    "model": _model,
    "end": _end,
    "leave": _leave,
}
