"""Offline estimates of the policies in words, beside real episodes where there is an environment."""

from pipeline.ope.results import LoggedValue, PooledEstimate
from pipeline.reporting.results import Results
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
    """A row for each estimator, and one for real episodes if there is an environment; two columns for each agent."""
    agents = results.offline.agents
    header = ["estimator", *(cell for agent in agents for cell in (AGENTS[agent], "reward per step"))]
    rows = [
        [label, *(cell for agent in agents.values() for cell in _cells(agent.by_estimator[name]))]
        for name, label in ESTIMATORS.items()
    ]
    if any(agent.true for agent in agents.values()):
        values = [number(agent.true.value) if agent.true else "–" for agent in agents.values()]
        rows.append(["real episodes", *(cell for value in values for cell in (value, "–"))])
    return Table(header, rows)


def logged_value(results: Results) -> str:
    """The value of the same held-out episodes as they were logged."""
    logged = results.offline.logged
    value, per_step = _cells(logged)
    return f"Logged behavior: {value} over {logged.episodes:,} held-out episodes, {per_step} per step."


def fit_doubts(results: Results) -> str:
    """How far fitted Q evaluation is from convergence."""
    fits = {AGENTS[agent]: estimates.fqe for agent, estimates in results.offline.agents.items()}
    numbers = [f"{label} {number(fit.drift)} and {percent(fit.clamped, 1)}" for label, fit in fits.items()]
    return (
        "Convergence of fitted Q evaluation (drift of the value over the last tenth of the updates, and share of"
        f" targets clamped to the range of logged rewards): {'; '.join(numbers)}. Both should be near zero."
    )


def offline_verdict(results: Results) -> str:
    """Which estimates rank the policy above behavior cloning, and the real returns of both if known."""
    sentence, agents = preferences(results), results.offline.agents
    policy, bc = agents["policy"].true, agents["bc"].true
    if policy is None or bc is None:
        return f"{sentence} There is no environment to check this against."
    return (
        f"{sentence} Real episodes returned {number(policy.return_mean)} for the policy and"
        f" {number(bc.return_mean)} for behavior cloning."
    )


def preferences(results: Results) -> str:
    """Which estimates rank the policy above behavior cloning and above the logs."""
    policy, bc = _values(results, "policy"), _values(results, "bc")
    above = {name: policy[name] > bc[name] for name in ESTIMATORS if name in policy and name in bc}
    if not above:
        return "No estimate is available for both policies."
    groups = {
        "above behavior cloning": [ESTIMATORS[name] for name in above if above[name]],
        "not above behavior cloning": [ESTIMATORS[name] for name in above if not above[name]],
    }
    text = "; ".join(f"{rank}: {', '.join(names)}" for rank, names in groups.items() if names)
    return f"Estimates that rank the policy {text}. {_beside_the_logs(results)}"


def _beside_the_logs(results: Results) -> str:
    """Which estimates put the policy above the logged episodes from the same first observations."""
    logged, policy = results.offline.logged.per_step, _values(results, "policy")
    above = [label for name, label in ESTIMATORS.items() if name in policy and policy[name] > logged]
    if not above:
        return "No estimate puts it above logged behavior."
    return f"Above logged behavior: {', '.join(above)}."


def _values(results: Results, agent: str) -> dict[str, float]:
    """The available estimates of one agent, as rewards per step: logs and rollouts differ in length."""
    estimates = results.offline.agents[agent].by_estimator
    return {name: e.per_step for name, e in estimates.items() if e.per_step is not None}


def _cells(estimate: PooledEstimate | LoggedValue) -> list[str]:
    """Value with interval, and reward per step; the reason where there is no estimate."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        reason = estimate.reason if isinstance(estimate, PooledEstimate) else "not measured"
        return [f"none: {reason}", "–"]
    return [f"{number(estimate.value)} {interval(estimate.low, estimate.high)}", number(estimate.per_step)]
