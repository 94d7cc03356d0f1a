"""A Lightning logger that writes to the MLflow run of a stage."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from pipeline.tracking.run import StageRun


class StageLogger(Logger):
    """Hands metrics to the stage's run, which sends them in batches and ends by itself."""

    def __init__(self, run: StageRun, prefix: str = "") -> None:
        super().__init__()
        self._stage_run, self._prefix = run, prefix

    @property
    def name(self) -> str:
        """The stage."""
        return self._stage_run.name

    @property
    def version(self) -> str:
        """The id of the MLflow run."""
        return self._stage_run.run_id or ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand the metrics to the stage's run."""
        self._stage_run.log_metrics({f"{self._prefix}{k}": v for k, v in metrics.items()}, step or 0)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: object, **kwargs: object) -> None:
        """Nothing: the stage logs the blocks of params.yaml."""

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Write the metrics that wait to disk; the run stays open."""
        self._stage_run.flush()


def logger_for(run: StageRun, prefix: str = "") -> Logger | bool:
    """A Lightning logger that writes to the MLflow run of ``run``; False (no logger) in processes that do not track."""
    return StageLogger(run, prefix) if run.is_main else False
