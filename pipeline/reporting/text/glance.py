"""The first screen below the verdict: what was run, and one line for every reason to trust it or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.reporting.results import Results
from pipeline.reporting.text.advice import reach
from pipeline.reporting.text.formatting import number, percent
from pipeline.reporting.text.limits import FEW_SEEDS
from pipeline.reporting.text.ope import preferences
from pipeline.reporting.trust import intervals, mean_of

FULL = 0.1  # a promise that imitation by less than this share of its size is kept


@dataclass(frozen=True)
class Reason:
    """``section`` is the part of the page that tells more."""

    section: str
    topic: str
    says: str


def glance(results: Results) -> list[Reason]:
    """Scores, logs, model, intervals, promise and what the logs alone say, in the order of the page."""
    found = {
        ("scores", "Runs"): _runs(results),
        ("data", "Logs"): _logs(results),
        ("trust", "World model"): _model(results),
        ("trust", "Its intervals"): _intervals(results),
        ("gap", "Its promise"): _promise(results),
        ("offline", "EvaluatedPolicy from logs alone"): preferences(results),
    }
    return [Reason(section, topic, says) for (section, topic), says in found.items()]


def recipe(params: Mapping[str, Any], results: Results) -> str:
    """What was run, as far as ``params`` name it, and where: "policy sac, world model rssm, ..., environment none"."""
    learner, model, penalty = (params.get(part, {}) for part in ("policy", "world_model", "penalty"))
    told = [f"policy {learner['name']}"] if "name" in learner else []
    told += [f"world model {model['name']}"] if "name" in model else []
    weight = f" × {penalty['weight']}" if "weight" in penalty else ""  # a number or auto
    told += [f"penalty {penalty['name']}{weight}"] if "name" in penalty else []
    return ", ".join([*told, results.seeds_told, f"environment {results.evaluation['environment'] or 'none'}"])


def _runs(results: Results) -> str:
    count, policy = len(results.seeds), results.summary("policy")
    if policy is None:
        return f"Trained with {results.seeds_told}; no real episode was run."
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    few = ", too few to tell how much training itself varies" if count < FEW_SEEDS else ""
    return f"{policy['episodes']:,} real episodes of {seeds}{few}."


def _logs(results: Results) -> str:
    spec = results.dataset.spec
    odd = [f"{f['name'].replace('_', ' ')} ({f['severity']})" for f in results.findings if f["severity"] != "info"]
    checks = f"{len(results.findings)} checks on them warn of {', '.join(odd) or 'nothing'}"
    return f"{spec.transitions:,} steps in {spec.episodes:,} episodes; {checks}."


def _model(results: Results) -> str:
    far = reach(results)
    trusted = f"May imagine {far}" if far else "Not even one step ends near enough to the truth"
    errors = list(results.errors.values())
    model, still = (mean_of(e[key][0] for e in errors) for key in ("model_rmse", "persistence_rmse"))
    assert model is not None
    if not still:
        return f"{trusted}."
    return f"{trusted}; its error of one held-out step is {percent(model / still, 1)} of that of expecting no change."


def _intervals(results: Results) -> str:
    found = intervals(results)
    if not found:
        return "Could not be judged."
    held = percent(float(np.mean([output["before"] for output in found.values()])))
    visited = (results.evaluation.get("visited") or {}).get("by_seed", [])
    there = mean_of(row["coverage"] and row["coverage"][2] for row in visited)
    beside = "" if there is None else f", {percent(there)} where the policy goes"
    return f"Its 90\u00a0% intervals hold {held} of held-out steps{beside}."


def _promise(results: Results) -> str:
    told, steps = results.evaluation, results.evaluation["imagination"]["horizon"]
    promised = f"The world model promises the policy {number(told['imagined_return'])} over {steps} steps"
    gap = told["exploitation_gap"]
    if gap is None:
        return f"{promised}; nothing real to hold against it."
    kept = "kept" if abs(gap) <= FULL * abs(told["real_return"]) else "too much" if gap > 0 else "too little"
    return f"{promised}, the environment gave {number(told['real_return'])}: {kept}."
