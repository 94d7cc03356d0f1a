"""The MLflow run of one stage. In the additional processes of DDP, its methods do nothing."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking import assets, parent, store
from pipeline.tracking.names import stage_name
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import address, git_commit
from pipeline.tracking.resume import ResumedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from pipeline.data.dataset import DatasetSpec

PARAMS_PER_CALL, METRICS_PER_CALL = 100, 1000  # MLflow's limits for one batch
FLUSH_METRICS, FLUSH_SECONDS = 500, 10.0


class StageRun:
    """What a stage logs to. ``params`` holds all of params.yaml; ``work`` is the folder for resume points."""

    def __init__(self, name: str, seed: int | None, params: dict[str, Any], key: str) -> None:
        self.name, self.seed, self.params, self.key = name, seed, params, key
        self.tracking_uri = store.tracking_uri()
        self.run_id: str | None = None
        label = name if seed is None else f"{name}-seed-{seed}"
        self.work = work_dir() / "resume" / label / key
        self._resume = ResumedRun(self.work)
        self._waiting: list[Metric] = []
        self._flushed = time.monotonic()
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
        """Open a run below this execution's parent, or reopen the interrupted run of the same key."""
        experiment = store.open_experiment(self.tracking_uri)
        self._parent_id = parent.enter(self.client, self.tracking_uri, experiment, self.params)
        self.run_id = self._resume.run_id(self.client) or self._create(experiment)
        self.client.update_run(self.run_id, status="RUNNING")
        self._resume.remember(self.run_id)
        parent.link(self.client, self._parent_id, address(self.name, self.seed), self.run_id, self.key)
        store.start_fluent_run(self.run_id)
        self.print(f"MLflow run {self.run_id} in {self.tracking_uri}")

    def _create(self, experiment: str) -> str:
        tags = {
            "mlflow.parentRunId": self._parent_id,
            "mlflow.source.git.commit": git_commit(),
            "mlflow.source.name": f"pipeline.stages.{self.name}",
            "pipeline.stage": self.name,
            "pipeline.key": self.key,
            **({} if self.seed is None else {"pipeline.seed": str(self.seed)}),
        }
        run = self.client.create_run(experiment, tags=tags, run_name=stage_name(self.name, self.seed, self.params))
        return str(run.info.run_id)

    def end(self, status: str) -> None:
        """Close the run with an MLflow status, and update the parent's status."""
        self.flush()
        store.end_fluent_run(status)
        self._resume.forget(finished=status == "FINISHED")
        parent.leave(self.client, self._parent_id, status)

    def print(self, text: str) -> None:
        """Print in the main process only."""
        if self.is_main:
            print(text, flush=True)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested params as ``block.key``, in batches. A resumed run already holds the same values."""
        if self.run_id is None:
            return
        self._send_params(self.run_id, params)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Collect metrics and send them in batches, because one write to the store takes milliseconds."""
        if not self.is_main:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [Metric(k, float(v), now, int(step)) for k, v in metrics.items()]
        if len(self._waiting) >= FLUSH_METRICS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def log_headline(self, metrics: Mapping[str, float]) -> None:
        """Log the main results to this run and, with all of params.yaml, to the parent run, so that whole pipelines can
        be compared."""
        self.log_metrics(metrics, step=0)
        if self.run_id is not None:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            self.client.log_batch(self._parent_id, metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()])
            self._send_params(self._parent_id, self.params)

    def log_decision(self, status: str, reason: str) -> None:
        """Tag this run and the parent with what to do with the policy, and why; it is the parent's description too."""
        if self.run_id is None:
            return
        for run_id in (self.run_id, self._parent_id):
            self.client.set_tag(run_id, "pipeline.status", status)
            self.client.set_tag(run_id, "pipeline.reason", reason)
        self.client.set_tag(self._parent_id, "mlflow.note.content", f"**{status}**: {reason}")

    def _send_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(k, str(v)[:6000]) for k, v in flatten(params).items()]
        for i in range(0, len(flat), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=flat[i : i + PARAMS_PER_CALL])

    def flush(self) -> None:
        """Send the collected metrics."""
        waiting, self._waiting = self._waiting, []
        self._flushed = time.monotonic()
        for i in range(0, len(waiting), METRICS_PER_CALL):
            assert self.run_id is not None
            self.client.log_batch(self.run_id, metrics=waiting[i : i + METRICS_PER_CALL])

    def log_report(self, page: Path | str) -> None:
        """Log the page to the parent, whose page in MLflow stands for the execution."""
        if self.run_id is not None:
            self.client.log_artifact(self._parent_id, str(page))

    def log_artifact(self, path: Path | str, folder: str | None = None) -> None:
        """Log a file, or a folder with its content."""
        if self.run_id is not None:
            log = self.client.log_artifacts if Path(path).is_dir() else self.client.log_artifact
            log(self.run_id, str(path), folder)

    def log_dataset(self, spec: "DatasetSpec", folder: Path | str) -> None:
        """Log the prepared dataset as an input of this run and the parent, with its name and digest (at most 36
        characters), and name the parent by it."""
        if self.run_id is not None:
            assets.log_dataset(self.client, [self.run_id, self._parent_id], spec.name, spec.digest, Path(folder))
            self.client.update_run(self._parent_id, name=parent.name_of(self.params, spec.name))


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | tuple) else value
    return flat
