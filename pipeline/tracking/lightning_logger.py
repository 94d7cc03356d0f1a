"""A Lightning logger that writes to the MLflow run of a stage."""

from collections.abc import Mapping

from lightning.pytorch.loggers import Logger, MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from pipeline.tracking.run import StageRun


class StageLogger(MLFlowLogger):
    """Sends metrics in the stage's batches and leaves it to the stage to end the run."""

    def __init__(self, run: StageRun, prefix: str = "") -> None:
        super().__init__(tracking_uri=run.tracking_uri, run_id=run.run_id, prefix=prefix)
        self._stage_run = run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand the metrics to the stage's run."""
        self._stage_run.log_metrics({f"{self._prefix}{k}": v for k, v in metrics.items()}, step or 0)

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Send the metrics that wait; the run stays open."""
        self._stage_run.flush()


def logger_for(run: StageRun, prefix: str = "") -> Logger | bool:
    """A Lightning logger that writes to the MLflow run of ``run``; False (no logger) in processes that do not track."""
    return StageLogger(run, prefix) if run.is_main else False
