"""What policies are worth by the logs and the world model alone, and whether the environment agrees."""

from typing import Any

from pipeline.reporting.results import Json, Results
from pipeline.reporting.tables import Table
from pipeline.reporting.text.formatting import interval, number, percent
from pipeline.reporting.text.score_lines import AGENTS

ESTIMATORS = {
    "fqe": "fitted Q evaluation",
    "model": "world model",
    "model_pessimistic": "world model less penalty",
    "importance": "importance weighting",
}


def offline_table(results: Results) -> Table:
    """A row for each estimate, and for real episodes where there is an environment; two columns for each agent."""
    agents = results.offline["agents"]
    header = ["judged by", *(cell for agent in agents for cell in (AGENTS[agent], "reward per step"))]
    rows = [[label, *(cell for a in agents.values() for cell in _told(a[name]))] for name, label in ESTIMATORS.items()]
    if any(agent["true"] for agent in agents.values()):
        true = [number(agent["true"]["value"]) if agent["true"] else "–" for agent in agents.values()]
        rows.append(["real episodes", *(cell for value in true for cell in (value, "–"))])
    return Table(header, rows)


def logged_value(results: Results) -> str:
    """What the same held-out episodes were worth as they were logged."""
    logged = results.offline["logged"]
    value, per_step = _told(logged)
    return f"Logged behavior: {value} over {logged['episodes']:,} held-out episodes, {per_step} per step."


def fit_doubts(results: Results) -> str:
    """How far fitted Q evaluation may be from having settled."""
    fits = [(AGENTS[agent], estimates["fqe"]) for agent, estimates in results.offline["agents"].items()]
    told = [f"{label} {number(fit['drift'])} and {percent(fit['clamped'], 1)}" for label, fit in fits]
    return (
        "Fitted Q evaluation: drift of the value over the last tenth of the updates, and the share of targets clamped"
        f" to what logged rewards allow: {'; '.join(told)}. Both should be near zero."
    )


def offline_verdict(results: Results) -> str:
    """Whether each estimate puts the policy above behavior cloning, and whether it should have."""
    sentence, agents = preferences(results), results.offline["agents"]
    true = {name: agents[name]["true"] for name in ("policy", "bc")}
    if None in true.values():
        return f"{sentence} There is no environment to hold against it."
    real = {name: number(t["return"]) for name, t in true.items()}
    return f"{sentence} Real episodes returned {real['policy']} for the policy and {real['bc']} for behavior cloning."


def preferences(results: Results) -> str:
    """Which estimates put the policy above behavior cloning and above the logs."""
    agents = results.offline["agents"]
    given = [name for name in ESTIMATORS if None not in (_value(agents, "policy", name), _value(agents, "bc", name))]
    for_policy = [ESTIMATORS[n] for n in given if _value(agents, "policy", n) > _value(agents, "bc", n)]
    against = [ESTIMATORS[n] for n in given if ESTIMATORS[n] not in for_policy]
    told = "; ".join(
        f"{which} behavior cloning: {', '.join(names)}"
        for which, names in (("above", for_policy), ("not above", against))
        if names
    )
    if not told:
        return "No estimate could be given of both policies."
    return f"Estimates that put the policy {told}. {_beside_the_logs(results)}"


def _beside_the_logs(results: Results) -> str:
    """Whether the policy is worth more than the logs' own episodes from the same first observations."""
    logged, policy = results.offline["logged"]["value"], results.offline["agents"]["policy"]
    above = [label for name, label in ESTIMATORS.items() if (v := policy[name]["value"]) is not None and v > logged]
    if not above:
        return "None puts it above logged behavior."
    return f"Above logged behavior: {', '.join(above)}."


def _value(agents: Json, agent: str, estimator: str) -> Any:
    return agents[agent][estimator]["value"]


def _told(estimate: Json) -> list[str]:
    if estimate["value"] is None:
        return [f"none: {estimate['reason']}", "–"]
    bounds = interval([estimate["low"], estimate["high"]])
    return [f"{number(estimate['value'])} {bounds}", number(estimate["per_step"])]
