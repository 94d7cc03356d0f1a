"""What to do with the policy: one rule for the page, the terminal, MLflow and the model card.

With an environment, real returns decide, by their 95 % intervals. Without one, estimates have to agree: those of fitted
Q evaluation, which does not use the world model, and those of the world model less its penalty. Their lower bounds must
pass both cloning and the logs. A world model that fails its gate (:mod:`pipeline.assessment.gate`) has no say.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.assessment.gate import failures
from pipeline.envs.action_space import DISCRETE
from pipeline.evaluation.results import ScoreSummary
from pipeline.ope.results import LoggedValue, PooledEstimate
from pipeline.reporting.next_steps import CONSTANT, action_spread, next_steps
from pipeline.reporting.results import Results
from pipeline.reporting.status import CLONE, DEPLOY, STAY, UNKNOWN, Bounds, Decision
from pipeline.reporting.text.formatting import interval, listed, number, percent
from pipeline.reporting.text.ope import ESTIMATORS as LABELS
from pipeline.reporting.text.score_lines import AGENTS
from pipeline.validation import counted

FEWEST_STEPS = 10  # trusted ones; a policy is not deployed by the estimates of a model that is trusted for less
FEWEST_EPISODES = 10  # of the policy and of the logs; the interval of fewer hardly means anything
ESTIMATORS = ("fqe", "model", "model_pessimistic")  # that rank policies in every run
DECIDING = ("fqe", "model_pessimistic")
FIRST = "all estimates rank the policy above cloning and the logged behavior"

__all__ = ["CLONE", "DEPLOY", "STAY", "UNKNOWN", "Decision", "by_estimates", "by_returns", "decide"]


def decide(results: Results, learner: str | None = None) -> Decision:
    """The decision that follows from these results. ``learner``: the name of the policy's learner, for its options."""
    status, reason = _by_returns(results) if results.summary("policy") else _by_estimates(results)
    return Decision(status, reason, next_steps(status, results, learner))


def by_returns(policy: Bounds, cloning: Bounds, logged: Bounds, varies: bool, random: Bounds | None = None) -> str:
    """The status by real returns. ``varies``: whether the policy's actions depend on the state; ``random``: returns of
    random actions.

    A policy is deployed if it is clearly better than the logs and not clearly worse than cloning. A constant action
    that beats the logs says more about the reward than about the policy. Cloning is used if it is clearly better than
    the policy and than random actions, and not clearly worse than the logs.
    """
    learned = random is None or cloning.above(random)
    if policy.below(cloning) and not cloning.below(logged) and learned:
        return CLONE
    if policy.below(cloning) or policy.below(logged):
        return STAY
    return DEPLOY if policy.above(logged) and varies else UNKNOWN


def by_estimates(
    policy: Mapping[str, Bounds], cloning: Mapping[str, Bounds], logged: Bounds, trusted: int, faults: list[str]
) -> str:
    """The status by estimates of the reward per step, without an environment.

    ``trusted``: the trusted horizon in steps; ``faults``: why the world model fails its gate.
    """
    believed = [name for name in ESTIMATORS if name == "fqe" or not faults]
    if _undefined(policy, cloning, believed):
        return UNKNOWN
    above = [name for name in believed if policy[name].value > cloning[name].value]
    if faults:
        return UNKNOWN if above and policy["fqe"].value > logged.value else STAY
    if not above:
        return STAY if cloning["fqe"].below(logged) else CLONE
    if all(policy[name].value <= logged.value for name in believed):
        return STAY
    first = _ranks(policy, cloning, logged) == FIRST
    return DEPLOY if first and not any(_shortfalls(policy, cloning, logged, trusted)) else UNKNOWN


def _by_returns(results: Results) -> tuple[str, str]:
    scores = {name: _of_score(score) for name in AGENTS if (score := results.summary(name))}
    policy, logged = scores["policy"], scores["logged"]
    spread = action_spread(results)
    varies = spread is None or spread >= CONSTANT
    few = [score.episodes for name in ("policy", "logged") if (score := results.summary(name))]
    random = scores.get("random")
    status = UNKNOWN
    if min(few) >= FEWEST_EPISODES:
        status = by_returns(policy, scores.get("bc", logged), logged, varies, random)
    rivals = [_compared(policy, scores[name], AGENTS[name]) for name in ("logged", "bc") if name in scores]
    reason = f"The policy returns {_text(policy)} (95 % interval), {' and '.join(rivals)}."
    if random is not None and not policy.above(random):
        reason += f" It is not clearly better than random actions ({_text(random)})."
    if min(few) < FEWEST_EPISODES:
        reason += f" {counted(min(few), 'episode')} {'is' if min(few) == 1 else 'are'} too few for an interval."
    elif not varies and spread is not None:
        how = (
            f"it takes another action than the most frequent one in {percent(spread, 2)} of its steps"
            if results.dataset.spec.action_kind == DISCRETE
            else f"its actions vary by {percent(spread, 2)} of half their range"
        )
        reason += f" But it does the same in every state: {how}."
    return status, reason


def _by_estimates(results: Results) -> tuple[str, str]:
    policy, cloning = (per_step(results, name) for name in ("policy", "bc"))
    logged = of_estimate(results.offline.logged, results.offline.discount)
    trusted = min(errors.trust.horizon for errors in results.errors.values())
    faults = sorted({fault for errors in results.errors.values() for fault in failures(errors)}, reverse=True)
    status = by_estimates(policy, cloning, logged, trusted, faults)
    serious = [check.name.replace("_", " ") for check in results.checks if check.severity == "serious"]
    if status == DEPLOY and serious:
        return UNKNOWN, f"All estimates rank the policy first, but the data check {serious[0]} is serious."
    return status, _estimates_reason(policy, cloning, logged, trusted, faults)


def _estimates_reason(
    policy: Mapping[str, Bounds], cloning: Mapping[str, Bounds], logged: Bounds, trusted: int, faults: list[str]
) -> str:
    fqe = (
        f"By fitted Q evaluation, the policy earns {_text(policy['fqe'])} per step, cloning"
        f" {_text(cloning['fqe'])}, logged behavior {_text(logged)}."
    )
    ranks = _ranks(policy, cloning, logged)
    if undefined := _undefined(policy, cloning, ["fqe"] if faults else ESTIMATORS):
        ranks = f"there is no estimate by {listed([LABELS[name] for name in undefined])}"
    elif ranks == FIRST and not faults:
        ranks = ", but ".join([ranks, *_shortfalls(policy, cloning, logged, trusted)])
    sentence = ", and ".join([*faults, ranks])
    return f"{sentence[0].upper()}{sentence[1:]}. {fqe} There is no environment to check this."


def _ranks(policy: Mapping[str, Bounds], cloning: Mapping[str, Bounds], logged: Bounds) -> str:
    """Where the estimates put the policy beside cloning and the logs."""
    above_cloning = [policy[name].value > cloning[name].value for name in ESTIMATORS]
    above_logs = [policy[name].value > logged.value for name in ESTIMATORS]
    if not any(above_cloning):
        below = all(policy[name].value < cloning[name].value for name in ESTIMATORS)
        return "all estimates rank the policy below cloning" if below else "no estimate puts the policy above cloning"
    if not any(above_logs):
        return "no estimate puts the policy above the logged behavior"
    if all(above_cloning) and all(above_logs):
        return FIRST
    return "the estimates disagree whether the policy is better than cloning and the logged behavior"


def _undefined(policy: Mapping[str, Bounds], cloning: Mapping[str, Bounds], names: Sequence[str]) -> list[str]:
    """The estimators that have no number: a fit that diverged ranks nothing."""
    return [name for name in names if math.isnan(policy[name].value) or math.isnan(cloning[name].value)]


def _shortfalls(
    policy: Mapping[str, Bounds], cloning: Mapping[str, Bounds], logged: Bounds, trusted: int
) -> Iterator[str]:
    """What keeps a policy that all estimates rank first from being deployed: the first reason."""
    if trusted < FEWEST_STEPS:
        yield f"the world model is trusted for {counted(trusted, 'step')} only"
        return
    for name in DECIDING:
        rival = max(cloning[name].value, logged.value)
        if not policy[name].low > rival:  # nor is NaN
            yield f"the lower bound by {LABELS[name]}, {number(policy[name].low)}, is not above {number(rival)}"
            return


def per_step(results: Results, agent: str) -> dict[str, Bounds]:
    """The estimates of one agent's reward per step, by estimator."""
    estimates = results.offline.agents[agent].by_estimator
    return {name: of_estimate(estimates[name], results.offline.discount) for name in ESTIMATORS}


def of_estimate(estimate: PooledEstimate | LoggedValue, discount: float) -> Bounds:
    """A discounted value and its interval as rewards per step; NaN where there is no estimate."""
    numbers = (estimate.value, estimate.per_step, estimate.low, estimate.high)
    value, per_step, low, high = (math.nan if number is None else number for number in numbers)
    ratio = per_step / value if value else 1 - discount
    return Bounds(per_step, *sorted((low * ratio, high * ratio)))


def _of_score(score: ScoreSummary) -> Bounds:
    return Bounds(score.return_mean, *score.return_mean_ci95)


def _compared(policy: Bounds, rival: Bounds, name: str) -> str:
    relation = "above" if policy.above(rival) else "below" if policy.below(rival) else "not clearly different from"
    return f"{relation} {name} ({_text(rival)})"


def _text(bounds: Bounds) -> str:
    return f"{number(bounds.value)} {interval(bounds.low, bounds.high)}"
