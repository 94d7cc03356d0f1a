"""What the machine does while a stage runs: use of processor, memory, disk, network and GPUs."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

SECONDS = 2.0  # between samples; stages of a small pipeline end within MLflow's default of ten
PREFIX = "system/"


class SystemMetrics:
    """Gives samples of MLflow's system metrics to ``log``. MLflow's own thread asks the store before each sample, and
    stops for good when it gets no answer."""

    def __init__(self, log: Callable[[Mapping[str, float], int], None], first_step: int) -> None:
        self._log, self._step = log, first_step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_in_turns, daemon=True, name="system metrics")

    def start(self) -> None:
        """Sample in the background from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()

    def _sample_in_turns(self) -> None:
        monitors = _monitors()
        while not self._ended.wait(SECONDS):
            sample: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                sample |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            self._log({f"{PREFIX}{name}": value for name, value in sample.items()}, self._step)
            self._step += 1


def _monitors() -> "list[BaseMetricsMonitor]":
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(ImportError, RuntimeError):  # MLflow's word for "no GPU here"
        monitors.append(GPUMonitor())
    return monitors
