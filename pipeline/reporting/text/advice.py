"""Advice from the numbers alone: which penalty to use, how far to imagine, where the model is overconfident."""

import numpy as np

from pipeline.reporting.results import Json, Results
from pipeline.reporting.tables import Table, pairs
from pipeline.reporting.text.formatting import number, percent
from pipeline.reporting.trust import features, fixed, intervals, judged_on_logs, mean_of

ALIKE = 0.03  # penalties whose scores differ by less are alike
WEAK = 0.3  # a rank correlation below this ranks too little to lean on
BLIND = 0.6  # an AUC below this hardly tells one action from another
NOMINAL, SLACK = 0.9, 0.05  # of the intervals that are judged, and how far off is said
NAMED = 3  # outputs told by name


def advice(results: Results, used: str | None) -> Table:
    """A row for each topic. ``used``: the penalty that the policy learned with."""
    told = {
        "how far to imagine": [horizon(results)],
        "how sure it is": _confidence(results),
        "where the policy goes": _shift(results),
        "which penalty": _penalty(results, used),
        "what it predicts worst": _features(results),
    }
    return pairs({topic: " ".join(says) for topic, says in told.items() if says})


def _best(found: dict[str, Json]) -> tuple[str, list[str]]:
    """The penalty to use, and those whose scores are like it. Of penalties that are alike on the logs, the one that
    ranks best where the policy goes."""
    top = next(iter(found.values()))["score"]
    alike = [name for name, told in found.items() if top - told["score"] < ALIKE]
    best = max(alike, key=lambda name: _ranks_there(found[name]))
    return best, [name for name in alike if name != best]


def _penalty(results: Results, used: str | None) -> list[str]:
    found = judged_on_logs(results)
    best, alike = _best(found)
    told = found[best]
    near, far = min(told["along"], default=1), max(told["along"], default=1)
    says = [
        f"Use {best}: its rank correlation with the error of one held-out step is {_rank(told['spearman'])}, that of"
        f" its sum along imagined rollouts with their error {_rank(told['along'].get(near))} after {near} step and"
        f" {_rank(told['along'].get(far))} after {far}."
    ]
    if (told["spearman"] or 0.0) < WEAK:
        says.append("That is weak: no penalty here knows where the model errs, so keep rollouts short.")
    elif (told["along"].get(far) or 0.0) < WEAK:
        says.append("So it knows of single steps, not of long rollouts: do not count on it to stop those.")
    if told["auc"] is not None and told["auc"] < BLIND:
        says.append(
            f"It hardly tells logged actions from others (AUC {_rank(told['auc'])}): the logs hold many actions for"
            " each state, or it is blind to them."
        )
    if alike:
        says.append(f"On the logs {_and(alike)} {'does' if len(alike) == 1 else 'do'} about as well.")
    if any(_ranks_there(told) > _ranks_there(found[name]) for name in alike):
        says.append(f"Of these {best} ranks best on the policy's own states, with {_rank(told['visited'])}.")
    if used in found:
        says.append(f"This run used {'it' if used == best else used}.")
    if told["visited"] is not None and told["visited"] < WEAK < (told["spearman"] or 0.0):
        better = max(found, key=lambda name: _ranks_there(found[name]))
        there = f"; {better} ranks best there, with {_rank(found[better]['visited'])}" if better != best else ""
        says.append(f"On the policy's own states that correlation is only {_rank(told['visited'])}{there}.")
    return says


def _ranks_there(told: Json) -> float:
    """The rank correlation on the policy's own states; the least there is where it is not known."""
    return -1.0 if told["visited"] is None else float(told["visited"])


def reach(results: Results) -> str | None:
    """How many steps the world model may imagine, in words; None where not even one ends near enough to the truth."""
    trust = [e["trust"] for e in results.errors.values()]
    steps = sorted(t["horizon"] for t in trust)
    if steps[-1] == 0:
        return None
    if steps[0] == max(t["horizon_measured"] for t in trust):
        return f"at least {_steps(steps[0])}, the longest tried"
    return _steps(steps[0]) if steps[0] == steps[-1] else f"{steps[0]} to {_steps(steps[-1])}, depending on the seed"


def horizon(results: Results) -> str:
    """How far to let it imagine, and what that is judged by."""
    far = reach(results)
    if far is None:
        return "Do not let it imagine: not even one step ends nearer to the truth than where it started."
    trust = [e["trust"] for e in results.errors.values()]
    limit = mean_of(t["share"] * t["apart"] for t in trust)
    return (
        f"It can be trusted to imagine {far}: up to there nine of ten held-out windows stay within {number(limit)}"
        f" {results.error_unit} of the truth, half the distance between unrelated states."
    )


def _confidence(results: Results) -> list[str]:
    found = intervals(results, NOMINAL)
    if not found:
        reasons = {r["skipped"] for r in results.reliability.values() if "skipped" in r}
        return [f"Whether it is overconfident could not be judged: {'; '.join(sorted(reasons))}."]
    before, after = (float(np.mean([x[when] for x in found.values()])) for when in ("before", "after"))
    worst = sorted((n for n in found if found[n]["before"] < NOMINAL - SLACK), key=lambda n: found[n]["before"])
    if worst:
        named = _and([f"{n} ({percent(found[n]['before'])})" for n in worst[:NAMED]])
        more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
        told = f"overconfident in {named}{more}: so much do its 90\u00a0% intervals hold, on average {percent(before)}"
    else:
        caution = ", rather too cautious" if before > NOMINAL + SLACK else ""
        told = f"nowhere overconfident on held-out steps{caution}: its 90\u00a0% intervals hold {percent(before)}"
    return [f"It is {told}; recalibrated, {percent(after)}."]


def _shift(results: Results) -> list[str]:
    visited = (results.evaluation.get("visited") or {}).get("by_seed", [])
    if not visited:
        return []
    logs = mean_of(float(s["true_error"].mean()) for s in results.samples.values())
    there = mean_of(r["true_error"] for r in visited)
    assert logs is not None
    assert there is not None
    held = mean_of(r["coverage"] and r["coverage"][2] for r in visited)
    covers = "" if held is None else f", and 90\u00a0% intervals hold {percent(held)}"
    times = number(there / logs)
    return [f"There the error of a step is {times} times that on held-out logs{covers}."]


def _features(results: Results) -> list[str]:
    found = features(results)
    if not found:
        return []
    name, told = next(iter(found.items()))
    of = "" if name == "reward" else " of its change"
    says = [
        f"The largest error is that of {name}: {number(told['rmse'])} standard deviations{of} in one held-out step."
    ]
    times = {n: f["rmse"] / f["linear_rmse"] for n, f in found.items() if f["linear_rmse"]}
    beaten = [f"{name} ({number(by)} times)" for name, by in times.items() if by >= 1]
    if beaten:
        more = " and more" if len(beaten) > NAMED else ""
        says.append(f"A linear regression errs less in {_and(beaten[:NAMED])}{more}.")
    return says


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _rank(value: float | None) -> str:
    return "undefined" if value is None else fixed(value)
