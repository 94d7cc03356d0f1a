"""How far a world model can be trusted: tables, means over the seeds where there are several."""

from collections.abc import Iterable

import numpy as np

from pipeline.reporting.results import Json, Results
from pipeline.reporting.tables import Table
from pipeline.reporting.text.formatting import number, percent

TOLD_LEVELS = [0.5, 0.8, 0.9, 0.95]


def mean_of(over_seeds: Iterable[float | None]) -> float | None:
    """None where one of them has no number."""
    values = list(over_seeds)
    return None if not values or None in values else float(np.mean(values))  # type: ignore[arg-type]


def penalties(results: Results) -> dict[str, Json]:
    """Every penalty, the best first: means over seeds of all that is known of it; ``visited`` is None where its policy
    was not run, and ``along`` holds the rank correlation of its sum by horizon. Last come those that are known where
    the policy goes alone: their ``along`` is empty, and all else None."""
    rows, visited = [e["penalties"] for e in results.errors.values()], _visited(results)
    found = {}
    for name, first in rows[0].items():
        told: Json = {key: mean_of(r[name][key] for r in rows) for key in ("spearman", "auc", "score")}
        told["kind"] = first["kind"]
        told["scale"] = mean_of(c["penalties"][name]["scale"] for c in results.calibration.values())
        told["visited"] = mean_of(r["penalties"][name]["spearman"] for r in visited)
        told["along"] = {
            h: mean_of(r[name]["rollout"]["sum"]["spearman"][i] for r in rows)
            for i, h in enumerate(first["rollout"]["horizons"])
        }
        found[name] = told
    best_first = dict(sorted(found.items(), key=lambda item: -item[1]["score"]))
    return best_first | {name: told for name, told in _of_the_policy(visited).items() if name not in found}


def judged_on_logs(results: Results) -> dict[str, Json]:
    """Those of :func:`penalties` that the held-out logs tell of."""
    return {name: told for name, told in penalties(results).items() if told["score"] is not None}


def _of_the_policy(visited: list[Json]) -> dict[str, Json]:
    """What ``penalties`` says where nothing is known but the correlation on the policy's states."""
    unknown: Json = {**dict.fromkeys(("spearman", "auc", "score", "scale")), "along": {}}
    return {
        name: unknown | {"kind": told["kind"], "visited": mean_of(r["penalties"][name]["spearman"] for r in visited)}
        for name, told in (visited[0]["penalties"] if visited else {}).items()
    }


def penalty_table(results: Results) -> Table:
    """The best first: rank correlations with the error of one step, of rollouts, and on the policy's own states."""
    found = penalties(results)
    horizons = [h for h in next(iter(found.values()))["along"] if h > 1]
    where = ["policy's states"] if _visited(results) else []
    header = ["penalty", "sees", "one step", *(f"{h} steps" for h in horizons), *where, "AUC", "scale", "score"]
    rows = []
    for name, told in found.items():
        ranks = [told["spearman"], *(told["along"].get(h) for h in horizons), *([told["visited"]] if where else [])]
        cells = [*map(fixed, ranks), fixed(told["auc"]), number(told["scale"]), fixed(told["score"])]
        rows.append([name, told["kind"] or "–", *cells])
    return Table(header, rows)


def feature_table(results: Results) -> Table:
    """The largest error first; with what each feature's 90 % interval holds, where features are what is predicted."""
    found, widths = features(results), intervals(results)
    beside = [name for name in found if name in widths]
    header = ["feature", "RMSE", "linear", "persistence", "R²", "R², linear"]
    header += ["in 90 % interval", "recalibrated", "temperature"] if beside else []
    rows = []
    for name, told in found.items():
        row = [name, *(number(told[k]) for k in ("rmse", "linear_rmse", "persistence_rmse"))]
        row += [fixed(told[k], 3) for k in ("r2", "linear_r2")]
        width = widths.get(name)
        cells = ["–"] * 3 if width is None else [percent(width[w]) for w in ("before", "after")]
        rows.append([*row, *((cells if width is None else [*cells, number(width["temperature"])]) if beside else [])])
    return Table(header, rows)


def shift_table(results: Results) -> Table:
    """The model on held-out logs, beside where its policy really goes. No row for the policy where it was not run."""
    header = ["where", "steps", "step error [reward]", *(f"{percent(level)} interval" for level in TOLD_LEVELS)]
    logs = list(results.samples.values())
    error = mean_of(float(s["true_error"].mean()) for s in logs)
    judged = _judged(results)
    held = [mean_of(_held(r, level) for r in judged) for level in TOLD_LEVELS]
    rows = [["held-out logs", f"{sum(len(s['true_error']) for s in logs):,}", number(error), *map(percent, held)]]
    if visited := _visited(results):
        held = [mean_of(r["coverage"] and r["coverage"][i] for r in visited) for i in range(len(TOLD_LEVELS))]
        error = mean_of(r["true_error"] for r in visited)
        steps = f"{sum(r['steps'] for r in visited):,}"
        rows.append(["policy's own episodes", steps, number(error), *map(percent, held)])
    return Table(header, rows)


def reliability_table(results: Results) -> Table:
    """Likelihood and coverage on the judged half of the held-out episodes, means over outputs and seeds, as learned and
    recalibrated; no row where there are no intervals."""
    judged = _judged(results)
    header = ["on the judged half", "NLL of an output [nats]", *(f"{percent(level)} interval" for level in TOLD_LEVELS)]
    rows = []
    for name, when in {"as learned": "before", "recalibrated": "after"}.items():
        held = [mean_of(_held(r, level, when) for r in judged) for level in TOLD_LEVELS]
        nll = mean_of(float(np.mean(r[f"nll_{when}"])) for r in judged)
        rows.append([name, number(nll), *map(percent, held)])
    constant = mean_of(float(np.mean(r["nll_constant"])) for r in judged)
    rows.append(["a single normal", number(constant), *["–"] * len(TOLD_LEVELS)])
    return Table(header, rows if judged else [])


def features(results: Results) -> dict[str, Json]:
    """Means over seeds by feature, the largest error first."""
    rows = [{f["name"]: f for f in e["features"]} for e in results.errors.values()]
    keys = ("rmse", "linear_rmse", "persistence_rmse", "r2", "linear_r2")
    names = [name for name in rows[0] if all(name in row for row in rows)]
    found = {n: {k: mean_of(r[n][k] for r in rows) for k in keys} for n in names}
    return dict(sorted(found.items(), key=lambda item: -(item[1]["rmse"] or 0.0)))


def intervals(results: Results, level: float = 0.9) -> dict[str, dict[str, float]]:
    """By output: what its central interval holds ``before`` and ``after`` recalibration, and its ``temperature``;
    empty where there are no intervals."""
    judged = _judged(results)
    if not judged:
        return {}
    at = judged[0]["levels"].index(level)
    found = {}
    for i, name in enumerate(judged[0]["outputs"]):
        held = {when: float(np.mean([r[f"coverage_{when}"][at][i] for r in judged])) for when in ("before", "after")}
        found[name] = held | {"temperature": float(np.mean([r["temperature"][i] for r in judged]))}
    return found


def _visited(results: Results) -> list[Json]:
    found = results.evaluation.get("visited")
    return found["by_seed"] if found else []


def _judged(results: Results) -> list[Json]:
    return [r for r in results.reliability.values() if "skipped" not in r]


def _held(reliability: Json, level: float, when: str = "before") -> float:
    return float(np.mean(reliability[f"coverage_{when}"][reliability["levels"].index(level)]))


def fixed(value: float | None, digits: int = 2) -> str:
    """Fixed decimals, a real minus."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
