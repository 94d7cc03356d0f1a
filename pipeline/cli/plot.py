"""``plot METRIC``: plot one tracked metric of several runs; curves are labeled by the params in which runs differ."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.text_table import aligned
from pipeline.tracking.assets import logged_datasets
from pipeline.tracking.store import client, experiment_name, tracking_uri
from pipeline.validation import closest, counted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SYSTEM = "system/"  # prefix of what MLflow measures of the machine


def plot_metric(metric: str, file: Path) -> list[str]:
    """Plot ``metric`` of the runs of the MLflow experiment in ``file`` (PNG), and write the numbers as JSON in the same
    folder. Of runs with equal params, dataset and seed, only the newest counts. Raises ValueError if no run has the
    metric."""
    store = client(tracking_uri())
    tracked = _runs(store)
    runs = _newest([run for run in tracked if metric in run.data.metrics])
    if not runs:
        hint = closest(metric, _metrics(tracked))
        fix = "`python -m pipeline plot` without a name lists the metrics"
        raise ValueError(f"no run in {tracking_uri()} has the metric `{metric}`{hint}; {fix}")
    curves = {label: _curve(store, run, metric) for label, run in _labeled(runs).items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps({"metric": metric, "curves": curves}, indent=2) + "\n")
    _draw(curves, f"{metric}: {', '.join(sorted({_dataset(run) for run in runs}))}", metric, file)
    return [f"{label}: last {curve['value'][-1]:.4g}" for label, curve in curves.items()] + [f"{file}: written"]


def list_metrics() -> list[str]:
    """The metrics of the MLflow experiment, each with the number of runs that logged it. Raises ValueError if there is
    no run."""
    metrics = _metrics(_runs(client(tracking_uri())))
    if not metrics:
        raise ValueError(f"no run in {tracking_uri()} has a metric; run `dvc repro` first")
    return aligned([[name, counted(number, "run")] for name, number in sorted(metrics.items())], left={0})


def _runs(store: "MlflowClient") -> "list[Run]":
    """The runs of the experiment, the newest first."""
    experiment = store.get_experiment_by_name(experiment_name())
    return list(store.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


def _metrics(runs: "list[Run]") -> Counter[str]:
    """How many runs logged each metric of a stage; those of the machine are left out."""
    return Counter(name for run in runs for name in run.data.metrics if not name.startswith(SYSTEM))


def _newest(runs: "list[Run]") -> "list[Run]":
    """The newest run for each set of params, dataset and seed; ``runs`` come newest first."""
    newest: dict[str, Run] = {}
    for run in runs:
        newest.setdefault(json.dumps(_params(run), sort_keys=True) + run.data.tags.get("pipeline.seed", ""), run)
    return list(newest.values())


def _labeled(runs: "list[Run]") -> "dict[str, Run]":
    """Each run by the params in which the runs differ and by its seed, sorted by them."""
    all_params = [_params(run) for run in runs]
    differing = [k for k in sorted(set().union(*all_params)) if len({params.get(k) for params in all_params}) > 1]
    labeled = []
    for run, params in zip(runs, all_params, strict=True):
        values = [str(params.get(k)) for k in differing]
        seed = run.data.tags.get("pipeline.seed", "-")
        parts = [f"{k} {v}" for k, v in zip(differing, values, strict=True)] or [run.info.run_name]
        labeled.append(([_rank(x) for x in (*values, seed)], ", ".join([*parts, f"seed {seed}"]), run))
    return {label: run for _, label, run in sorted(labeled, key=lambda row: row[:2])}


def _params(run: "Run") -> dict[str, str]:
    """A run's params, and its dataset with the first digits of its digest."""
    used = [f"{dataset.name} {dataset.digest[:6]}" for dataset in logged_datasets(run)]
    return {**run.data.params, **({"dataset": used[0]} if used else {})}


def _rank(value: str) -> tuple[float, str]:
    """Sort key: numbers by size, before words."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value


def _curve(store: "MlflowClient", run: "Run", metric: str) -> dict[str, list[float]]:
    history = sorted(store.get_metric_history(run.info.run_id, metric), key=lambda m: (m.step, m.timestamp))
    points = {m.step: m.value for m in history}  # a resumed run may log steps twice
    return {"step": list(points), "value": list(points.values())}


def _dataset(run: "Run") -> str:
    return next((dataset.name for dataset in logged_datasets(run)), "dataset not logged")


def _draw(curves: dict[str, dict[str, list[float]]], title: str, metric: str, file: Path) -> None:
    import matplotlib

    from pipeline.reporting.figures.style import RC, panels, save

    with matplotlib.rc_context(RC):
        figure, (axes,) = panels(title, 1, height=4.0)
        for label, curve in curves.items():
            axes.plot(curve["step"], curve["value"], label=label, marker="o", markersize=3)
        axes.set(xlabel="gradient updates", ylabel=metric.split("/")[-1].replace("_", " "))
        axes.legend()
        save(figure, file)
