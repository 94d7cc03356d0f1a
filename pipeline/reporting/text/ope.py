"""Offline estimates of the policies in words, beside real episodes where there is an environment."""

from pipeline.evaluation.results import POLICY
from pipeline.ope.results import LoggedValue, PooledEstimate
from pipeline.reporting.results import Results
from pipeline.reporting.tables import Table
from pipeline.reporting.text.formatting import interval, listed, number, percent
from pipeline.reporting.text.score_lines import label

ESTIMATORS = {
    "fqe": "fitted Q evaluation",
    "model": "world model",
    "model_pessimistic": "world model less penalty",
    "importance": "importance weighting",
}


def offline_tables(results: Results) -> dict[str, Table]:
    """Values, and the same as rewards per step, by title: a row for each estimator, and one for real episodes if there
    is an environment; a column for each agent."""
    agents = results.offline.agents
    header = ["estimator", *map(label, agents)]
    cells = {
        title: [_cells(agent.by_estimator[name]) for agent in agents.values()] for name, title in ESTIMATORS.items()
    }
    values = [[title, *(value for value, _ in row)] for title, row in cells.items()]
    if any(agent.true for agent in agents.values()):
        values.append(
            ["real episodes", *(number(agent.true.value) if agent.true else "–" for agent in agents.values())]
        )
    per_step = [[title, *(reward for _, reward in row)] for title, row in cells.items()]
    return {"Discounted value": Table(header, values), "Reward per step": Table(header, per_step)}


def logged_value(results: Results) -> str:
    """The value of the same held-out episodes as they were logged."""
    logged = results.offline.logged
    value, per_step = _cells(logged)
    return f"Logged behavior: {value} over {logged.episodes:,} held-out episodes, {per_step} per step."


def fit_doubts(results: Results) -> str:
    """How far fitted Q evaluation is from convergence."""
    fits = {label(agent): estimates.fqe for agent, estimates in results.offline.agents.items()}
    numbers = [f"{name} {number(fit.drift)} and {percent(fit.clamped, 1)}" for name, fit in fits.items()]
    return (
        "Convergence of fitted Q evaluation (drift of the value over the last tenth of the updates, and share of"
        f" targets clamped to the range of logged rewards): {'; '.join(numbers)}. Both should be near zero."
    )


def offline_verdict(results: Results) -> str:
    """Which estimates rank the policy above all baselines, and the real returns if there are any."""
    true = {agent: estimates.true for agent, estimates in results.offline.agents.items()}
    returns = [f"{number(e.return_mean)} for {'the policy' if a == POLICY else label(a)}" for a, e in true.items() if e]
    truth = (
        f"Real episodes returned {listed(returns)}." if returns else "There is no environment to check this against."
    )
    return f"{preferences(results)} {truth}"


def preferences(results: Results) -> str:
    """Which estimates rank the policy above all baselines and above the logs."""
    policy, *others = (_values(results, agent) for agent in results.offline.agents)
    baselines = [agent for agent in results.offline.agents if agent != POLICY]
    complete = [name for name in ESTIMATORS if all(name in values for values in (policy, *others))]
    above = {name: policy[name] > max(values[name] for values in others) for name in complete}
    if not above:
        return "No estimate is available for all policies."
    rivals = label(baselines[0]) if len(baselines) == 1 else f"all {len(baselines)} baselines"
    groups = {
        f"above {rivals}": [ESTIMATORS[name] for name in above if above[name]],
        f"not above {rivals}": [ESTIMATORS[name] for name in above if not above[name]],
    }
    text = "; ".join(f"{rank}: {', '.join(names)}" for rank, names in groups.items() if names)
    return f"Estimates that rank the policy {text}. {_beside_the_logs(results)}"


def _beside_the_logs(results: Results) -> str:
    """Which estimates put the policy above the logged episodes from the same first observations."""
    logged, policy = results.offline.logged.per_step, _values(results, POLICY)
    above = [title for name, title in ESTIMATORS.items() if name in policy and policy[name] > logged]
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
