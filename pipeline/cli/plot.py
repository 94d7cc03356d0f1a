"""``plot METRIC``: one tracked metric of several runs in one picture, each curve named by what sets its run apart."""

import json
from pathlib import Path
from typing import Any

from pipeline.tracking.store import client, experiment_name, tracking_uri


def plot_metric(metric: str, file: Path) -> list[str]:
    """Draw ``metric`` of every run of the MLflow experiment that logged it, the newest for each set of params and
    dataset, into ``file`` (PNG), and write the numbers beside it as JSON. Raises ValueError when no run has it."""
    store = client(tracking_uri())
    runs = _newest(_runs_with(store, metric))
    if not runs:
        raise ValueError(f"no run in {tracking_uri()} has the metric `{metric}`; the MLflow UI (make ui) lists them")
    curves = {label: _curve(store, run, metric) for label, run in _labeled(runs).items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps({"metric": metric, "curves": curves}, indent=2) + "\n")
    _draw(curves, f"{metric}: {', '.join(sorted({_dataset(run) for run in runs}))}", metric, file)
    return [f"{label}: last {curve['value'][-1]:.4g}" for label, curve in curves.items()] + [f"{file}: written"]


def _runs_with(store: Any, metric: str) -> list[Any]:
    experiment = store.get_experiment_by_name(experiment_name())
    runs = store.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
    return [r for r in runs if metric in r.data.metrics]


def _newest(runs: list[Any]) -> list[Any]:
    """Runs come newest first; a repetition of the same params on the same dataset adds nothing."""
    seen: dict[str, Any] = {}
    for run in runs:
        seen.setdefault(json.dumps(_told(run), sort_keys=True) + run.data.tags.get("pipeline.seed", ""), run)
    return list(seen.values())


def _labeled(runs: list[Any]) -> dict[str, Any]:
    """Each run named by the params in which the runs differ and by its seed, sorted by them."""
    told = [_told(run) for run in runs]
    differing = [k for k in sorted(set().union(*told)) if len({params.get(k) for params in told}) > 1]
    named = []
    for run, params in zip(runs, told, strict=True):
        values, seed = [str(params.get(k)) for k in differing], run.data.tags.get("pipeline.seed", "-")
        parts = [f"{k} {v}" for k, v in zip(differing, values, strict=True)] or [run.info.run_name]
        named.append(([_rank(x) for x in (*values, seed)], ", ".join([*parts, f"seed {seed}"]), run))
    return {label: run for _, label, run in sorted(named, key=lambda found: found[:2])}


def _told(run: Any) -> dict[str, str]:
    """A run's params, and its dataset with the first digits of its digest."""
    used = [f"{i.dataset.name} {i.dataset.digest[:6]}" for i in run.inputs.dataset_inputs]
    return {**run.data.params, **({"dataset": used[0]} if used else {})}


def _rank(value: str) -> tuple[float, str]:
    """Sorts numbers by size, and before words."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value


def _curve(store: Any, run: Any, metric: str) -> dict[str, list[float]]:
    history = sorted(store.get_metric_history(run.info.run_id, metric), key=lambda m: (m.step, m.timestamp))
    points = {m.step: m.value for m in history}  # a resumed run logs its last steps twice
    return {"step": list(points), "value": list(points.values())}


def _dataset(run: Any) -> str:
    return next((i.dataset.name for i in run.inputs.dataset_inputs), "dataset not logged")


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
