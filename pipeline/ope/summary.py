"""The estimates of all seeds as ``reports/metrics/offline.json`` tells them, beside true returns if there are any."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.ope.ranking import rank_correlation, regret_at

Json = dict[str, Any]
SCHEMA_VERSION = 1
DOUBTS = ("drift", "clamped")  # of fitted Q evaluation
ESTIMATORS = ("fqe", "model", "model_pessimistic", "importance")


def offline_result(judged: Sequence[Json], truth: Mapping[str, Sequence[Json]]) -> Json:
    """``judged`` holds the contents of ``data/offline/seed-K.json``; ``truth`` maps an agent to its mean ``return`` and
    discounted ``value`` of each seed, and is empty without an environment."""
    first = judged[0]
    agents = {name: _over_seeds([j["agents"][name] for j in judged]) for name in first["agents"]}
    for name, found in agents.items():
        found["true"] = {key: _mean([t[key] for t in truth[name]]) for key in ("value", "return")} if truth else None
    return {
        "schema_version": SCHEMA_VERSION,
        **{key: first[key] for key in ("discount", "horizon", "logged")},
        "seeds": [j["seed"] for j in judged],
        "agents": agents,
        "agreement": {name: _agreement(name, judged, truth) for name in ESTIMATORS} if truth else None,
    }


def flat(estimates: Json) -> dict[str, float]:
    """One agent's estimates as single numbers for the tracker: ``fqe``, ``fqe_low``, ``model_return``, ..."""
    found = {}
    for name, estimate in estimates.items():
        for key, value in (estimate or {}).items():
            if isinstance(value, float):
                found[name if key == "value" else f"{name}_{key}"] = value
    return found


def offline_numbers(result: Json) -> dict[str, float]:
    """The estimates of ``offline.json``, for the tracker, beside the returns that they foretell."""
    found = {f"offline/{k}": v for k, v in flat(result["agents"]["policy"]).items()}
    return found | {f"offline/bc_{k}": v for k, v in flat(result["agents"]["bc"]).items()}


def _over_seeds(estimates: Sequence[Json]) -> Json:
    """Means over seeds; the interval runs from the least to the largest bound, and doubts about a fit are the worst."""
    return {name: _merged([e[name] for e in estimates]) for name in ESTIMATORS}


def _merged(seeds: Sequence[Json]) -> Json:
    known = [s for s in seeds if s["value"] is not None]
    if not known:
        return {**dict.fromkeys(("value", "low", "high", "per_step")), "reason": seeds[0]["reason"]}
    merged: Json = {key: _mean([s[key] for s in known]) for key in ("value", "per_step")}
    merged |= {"low": min(s["low"] for s in known), "high": max(s["high"] for s in known)}
    return merged | {key: max((s[key] for s in known), key=abs) for key in DOUBTS if key in known[0]}


def _agreement(estimator: str, judged: Sequence[Json], truth: Mapping[str, Sequence[Json]]) -> Json | None:
    """Over every policy of every seed that has the estimate; None with fewer than two."""
    pairs = [
        (j["agents"][name][estimator]["value"], truth[name][i]) for i, j in enumerate(judged) for name in j["agents"]
    ]
    pairs = [(value, true) for value, true in pairs if value is not None]
    if len(pairs) < 2:
        return None
    values, returns = [p[0] for p in pairs], [p[1]["return"] for p in pairs]
    return {
        "policies": len(pairs),
        "regret_at_1": regret_at(1, values, returns),
        "spearman": rank_correlation(values, returns),
        "error": _mean([abs(value - true["value"]) for value, true in pairs]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))
