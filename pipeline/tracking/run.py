"""The MLflow run of one stage. In the additional processes of DDP, its methods do nothing."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking import assets, events, parent, store
from pipeline.tracking.names import stage_name
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import address, git_commit, label
from pipeline.tracking.resume import ResumedRun
from pipeline.tracking.sender import Sender, send_left
from pipeline.tracking.spool import Event, Spool
from pipeline.tracking.system_metrics import PREFIX, SystemMetrics

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.data.dataset import DatasetSpec

FLUSH_POINTS, FLUSH_SECONDS = 500, 10.0


class StageRun:
    """What a stage logs to. ``params`` holds all of params.yaml; ``work`` is the folder for resume points.

    Everything is on disk before it is sent, and a failure to send it does not reach the stage.
    """

    def __init__(
        self, name: str, seed: int | None, params: dict[str, Any], key: str, choice: str | None = None
    ) -> None:
        """``choice`` is the entry of a list in params.yaml that this run of the stage is for, beside its seed."""
        self.name, self.seed, self.choice, self.params, self.key = name, seed, choice, params, key
        self.tracking_uri = store.tracking_uri()
        self.run_id: str | None = None
        self.work = work_dir() / "resume" / label(name, seed, choice) / key
        self._resume = ResumedRun(self.work)
        self._points: list[events.Point] = []
        self._logged: set[tuple[str, int]] = set()  # keys and steps of the points that an interrupted stage logged
        self._flushed = time.monotonic()
        self._unwritten: list[Event] = []
        self._disk_error = ""
        self._lock = threading.Lock()
        self._parent_id = ""

    @property
    def is_main(self) -> bool:
        """True in the one process that tracks and writes outputs."""
        return self.run_id is not None

    @property
    def client(self) -> "MlflowClient":
        """The client of the MLflow store."""
        return store.client(self.tracking_uri)

    def start(self) -> None:
        """Open a run below this execution's parent, or reopen the interrupted run of the same key. Raises ValueError if
        the store does not answer."""
        experiment = store.open_experiment(self.tracking_uri)
        with store.one_line_errors(self.tracking_uri):
            left = list(send_left(self.tracking_uri))
            self._parent_id = parent.enter(self.client, self.tracking_uri, experiment, self.params)
            run_id = self._resume.run_id(self.client) or self._create(experiment)
            self.client.update_run(run_id, status="RUNNING")
            self._resume.remember(run_id)
            stage = address(self.name, self.seed, self.choice)
            parent.link(self.client, self._parent_id, stage, run_id, self.key)
        self._spool = Spool.create(run_id, self.tracking_uri, self.work)
        self._logged = {(point[0], point[3]) for event in self._spool.logged() for point in event.get("points", [])}
        self._sender = Sender(self._spool, self.client)
        steps = [step for key, step in self._logged if key.startswith(PREFIX)]
        self._system = SystemMetrics(self.log_metrics, max(steps, default=-1) + 1)
        self.run_id = run_id
        self._sender.start()
        self._system.start()
        for line in (*left, f"MLflow run {self.run_id} in {self.tracking_uri}"):
            self.print(line)

    def _create(self, experiment: str) -> str:
        tags = {
            "mlflow.parentRunId": self._parent_id,
            "mlflow.source.git.commit": git_commit(),
            "mlflow.source.name": f"pipeline.stages.{self.name}",
            "pipeline.stage": self.name,
            "pipeline.key": self.key,
            **({} if self.seed is None else {"pipeline.seed": str(self.seed)}),
        }
        name = stage_name(self.name, self.seed, self.params, self.choice)
        run = self.client.create_run(experiment, tags=tags, run_name=name)
        return str(run.info.run_id)

    def end(self, status: str) -> None:
        """Close the run with an MLflow status, update the parent's status, and say what could not be sent."""
        assert self.run_id is not None
        self._system.finish()
        self.flush()
        now = _now()
        self._write([events.end(self.run_id, status, now), events.leave(self._parent_id, status, now)])
        self._sender.finish()
        try:
            for line in self._sender.lines():
                self.print(line)
        except (OSError, ValueError) as error:  # the outputs are in place: a folder that is gone must not end the stage
            self.print(f"warning: what waits for MLflow in {self._spool.folder} is lost: {store.reason_of(error)}")
        if self._unwritten:
            self.print(f"warning: {len(self._unwritten)} entries for MLflow are lost: {self._disk_error}")
        with suppress(OSError):  # another process may work in the same folder
            self._resume.forget(finished=status == "FINISHED")
        self._spool.delete_if_done()
        self._spool.close()

    def print(self, text: str) -> None:
        """Print in the main process only."""
        if self.is_main:
            print(text, flush=True)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested params as ``block.key``. A resumed run already holds the same values."""
        if self.run_id is not None:
            self._write(events.params(self.run_id, flatten(params)))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Collect metrics and write them in batches. What an interrupted stage logged after its last resume point is
        logged again, with the same values, and left out here: a curve has each step once."""
        if not self.is_main:
            return
        now, step = _now(), int(step)
        points = [(key, float(value), now, step) for key, value in metrics.items() if (key, step) not in self._logged]
        with self._lock:
            self._points += points
            full = len(self._points) >= FLUSH_POINTS or time.monotonic() - self._flushed > FLUSH_SECONDS
        if full:
            self.flush()

    def flush(self) -> None:
        """Write the collected metrics to disk. A resume point may be saved only after this: a resumed stage does not
        log again what comes before it."""
        if self.run_id is None:
            return
        with self._lock:
            points, self._points = self._points, []
            self._flushed = time.monotonic()
        self._write(events.metrics(self.run_id, points))

    def log_headline(self, metrics: Mapping[str, float]) -> None:
        """Log the main results to this run and, with all of params.yaml, to the parent run, so that whole pipelines can
        be compared."""
        self.log_metrics(metrics, step=0)
        if self.run_id is not None:
            points = [(key, float(value), _now(), 0) for key, value in metrics.items()]
            parent_params = events.params(self._parent_id, flatten(self.params))
            self._write([*events.metrics(self._parent_id, points), *parent_params])

    def log_decision(self, status: str, reason: str) -> None:
        """Tag this run and the parent with what to do with the policy, and why; it is the parent's description too."""
        if self.run_id is None:
            return
        tags = {"pipeline.status": status, "pipeline.reason": reason}
        described = tags | {"mlflow.note.content": f"**{status}**: {reason}"}
        self._write([events.tags(self.run_id, tags), events.tags(self._parent_id, described)])

    def log_report(self, page: Path | str) -> None:
        """Log the page to the parent, whose page in MLflow stands for the execution."""
        if self.run_id is not None:
            self._copy(self._parent_id, Path(page), None)

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Log a file, or a folder with its content, as it is now."""
        if self.run_id is not None:
            self._copy(self.run_id, Path(path), folder)

    def log_model(self, name: str, save: Callable[[Path], None]) -> None:
        """Log the MLflow model that ``save`` writes to a new folder."""
        if self.run_id is not None:
            run = self.run_id
            self._write_file(save, "model", lambda path: events.model(run, path, name))

    def log_dataset(self, spec: "DatasetSpec", folder: Path | str) -> None:
        """Log the prepared dataset as an input of this run and the parent, with its name and digest (at most 36
        characters), and name the parent by it."""
        if self.run_id is not None:
            entry = assets.dataset_entry(spec.name, spec.digest, Path(folder))
            inputs = [events.dataset(run, entry) for run in (self.run_id, self._parent_id)]
            self._write([*inputs, events.name(self._parent_id, parent.name_of(self.params, spec.name))])

    def _copy(self, run: str, path: Path, folder: str | None) -> None:
        def copy(target: Path) -> None:
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, target)

        self._write_file(copy, path.name, lambda spooled: events.artifact(run, spooled, folder))

    def _write_file(self, save: Callable[[Path], object], name: str, event: Callable[[Path], Event]) -> None:
        """Put what ``save`` writes to a path into the spool, and the event of that path after it."""
        try:
            path = self._spool.new_folder() / name
            save(path)
        except OSError as error:
            self.print(f"warning: `{name}` is not logged to MLflow: {store.reason_of(error)}")
        else:
            self._write([event(path.relative_to(self._spool.folder))])

    def _write(self, entries: Sequence[Event]) -> None:
        """Put events into the spool. On a full disk they stay in memory for the next try."""
        with self._lock:
            self._unwritten += entries
            try:
                self._spool.append(self._unwritten)
                self._unwritten = []
            except OSError as error:
                self._disk_error = store.reason_of(error)


def _now() -> int:
    return int(time.time() * 1000)


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
