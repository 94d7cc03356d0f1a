"""What to do with the policy: one rule for the page, the terminal, MLflow and the model card.

With an environment, real returns decide, by their 95 % intervals. Without one, estimates have to agree: those of fitted
Q evaluation, which does not use the world model, and those of the world model less its penalty. Their lower bounds must
pass the logs and every baseline. A world model that fails its gate (:mod:`pipeline.assessment.gate`) has no say.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.assessment.gate import failures
from pipeline.envs.action_space import DISCRETE
from pipeline.evaluation.results import LOGGED, POLICY, RANDOM
from pipeline.reporting.next_steps import CONSTANT, action_spread, next_steps
from pipeline.reporting.results import Results
from pipeline.reporting.rivals import (
    ESTIMATORS,
    best_by_estimates,
    best_by_returns,
    best_estimates,
    called,
    estimated,
    of_estimate,
    of_score,
    per_step,
    with_bounds,
)
from pipeline.reporting.status import BASELINE, DEPLOY, STAY, UNKNOWN, Bounds, Decision
from pipeline.reporting.text.formatting import listed, number, percent
from pipeline.reporting.text.ope import ESTIMATORS as LABELS
from pipeline.reporting.text.score_lines import label
from pipeline.validation import counted

FEWEST_STEPS = 10  # trusted ones; a policy is not deployed by the estimates of a model that is trusted for less
FEWEST_EPISODES = 10  # of the policy and of the logs; the interval of fewer hardly means anything
DECIDING = ("fqe", "model_pessimistic")

__all__ = ["BASELINE", "DEPLOY", "STAY", "UNKNOWN", "Decision", "by_estimates", "by_returns", "decide"]


def decide(results: Results) -> Decision:
    """The decision that follows from these results."""
    real = results.summary(POLICY) is not None
    status, reason = _by_returns(results) if real else _by_estimates(results)
    baseline = None
    if status == BASELINE:
        baseline = best_by_returns(results) if real else best_by_estimates(results)
    return Decision(status, reason, next_steps(status, results, baseline), baseline)


def by_returns(policy: Bounds, baseline: Bounds, logged: Bounds, varies: bool, random: Bounds | None = None) -> str:
    """The status by real returns. ``baseline``: the best one; ``varies``: whether the policy's actions depend on the
    state; ``random``: returns of random actions.

    A policy is deployed if it is clearly better than the logs and not clearly worse than the baseline. A constant
    action that beats the logs says more about the reward than about the policy. The baseline is deployed if it is
    clearly better than random actions and not clearly worse than the logs, and either clearly better than the policy,
    or clearly better than the logs where the policy is not.
    """
    if policy.above(logged) and not policy.below(baseline):
        return DEPLOY if varies else UNKNOWN
    learned = (random is None or baseline.above(random)) and not baseline.below(logged)
    if learned and (policy.below(baseline) or baseline.above(logged)):
        return BASELINE
    return STAY if policy.below(baseline) or policy.below(logged) else UNKNOWN


def by_estimates(
    policy: Mapping[str, Bounds], baseline: Mapping[str, Bounds], logged: Bounds, trusted: int, faults: list[str]
) -> str:
    """The status by estimates of the reward per step, without an environment.

    ``baseline``: the best one by each estimator; ``trusted``: the trusted horizon in steps; ``faults``: why the world
    model fails its gate.
    """
    believed = [name for name in ESTIMATORS if name == "fqe" or not faults]
    if _undefined(policy, baseline, believed):
        return UNKNOWN
    above = [name for name in believed if policy[name].value > baseline[name].value]
    if faults:
        return UNKNOWN if above and policy["fqe"].value > logged.value else STAY
    if not above:
        return BASELINE if all(baseline[name].low > logged.value for name in DECIDING) else STAY
    if all(policy[name].value <= logged.value for name in believed):
        return STAY
    first = _is_first(policy, baseline, logged)
    return DEPLOY if first and not any(_shortfalls(policy, baseline, logged, trusted)) else UNKNOWN


def _by_returns(results: Results) -> tuple[str, str]:
    scores = {name: of_score(score) for name in results.evaluation.agents if (score := results.summary(name))}
    policy, logged, best = scores[POLICY], scores[LOGGED], best_by_returns(results)
    spread = action_spread(results)
    varies = spread is None or spread >= CONSTANT
    few = [score.episodes for name in (POLICY, LOGGED) if (score := results.summary(name))]
    random = scores.get(RANDOM)
    status = UNKNOWN
    if min(few) >= FEWEST_EPISODES:
        status = by_returns(policy, scores[best] if best else logged, logged, varies, random)
    rivals = [_compared(policy, logged, label(LOGGED))]
    if best is not None:
        rivals.append(_compared(policy, scores[best], called(best, len(results.evaluation.baselines))))
    reason = f"The policy returns {with_bounds(policy)} (95 % interval), {' and '.join(rivals)}."
    if random is not None and not policy.above(random):
        reason += f" It is not clearly better than random actions ({with_bounds(random)})."
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
    policy, baseline = per_step(results, POLICY), best_estimates(results)
    logged = of_estimate(results.offline.logged, results.offline.discount)
    trusted = min(errors.trust.horizon for errors in results.errors.values())
    faults = sorted({fault for errors in results.errors.values() for fault in failures(errors)}, reverse=True)
    status = by_estimates(policy, baseline, logged, trusted, faults)
    serious = [check.name.replace("_", " ") for check in results.checks if check.severity == "serious"]
    if status in (DEPLOY, BASELINE) and serious:
        first = "the policy" if status == DEPLOY else "a baseline"
        return UNKNOWN, f"All estimates rank {first} first, but the data check {serious[0]} is serious."
    rival = called(best_by_estimates(results), len(estimated(results)))
    return status, _estimates_reason(policy, baseline, logged, trusted, faults, rival)


def _estimates_reason(
    policy: Mapping[str, Bounds],
    baseline: Mapping[str, Bounds],
    logged: Bounds,
    trusted: int,
    faults: list[str],
    rival: str,
) -> str:
    fqe = (
        f"By fitted Q evaluation, the policy earns {with_bounds(policy['fqe'])} per step,"
        f" {rival}{',' if ',' in rival else ''} {with_bounds(baseline['fqe'])}, logged behavior {with_bounds(logged)}."
    )
    ranks = _ranks(policy, baseline, logged, rival)
    if undefined := _undefined(policy, baseline, ["fqe"] if faults else ESTIMATORS):
        ranks = f"there is no estimate by {listed([LABELS[name] for name in undefined])}"
    elif _is_first(policy, baseline, logged) and not faults:
        ranks = ", but ".join([ranks, *_shortfalls(policy, baseline, logged, trusted)])
    sentence = ", and ".join([*faults, ranks])
    return f"{sentence[0].upper()}{sentence[1:]}. {fqe} There is no environment to check this."


def _is_first(policy: Mapping[str, Bounds], baseline: Mapping[str, Bounds], logged: Bounds) -> bool:
    """Whether all estimates rank the policy above the baselines and the logs."""
    return all(policy[name].value > max(baseline[name].value, logged.value) for name in ESTIMATORS)


def _ranks(policy: Mapping[str, Bounds], baseline: Mapping[str, Bounds], logged: Bounds, rival: str) -> str:
    """Where the estimates put the policy beside the best baseline and the logs."""
    best = "the best baseline" if "," in rival else rival
    if not any(policy[name].value > baseline[name].value for name in ESTIMATORS):
        below = all(policy[name].value < baseline[name].value for name in ESTIMATORS)
        return f"all estimates rank the policy below {best}" if below else f"no estimate puts the policy above {best}"
    if not any(policy[name].value > logged.value for name in ESTIMATORS):
        return "no estimate puts the policy above the logged behavior"
    if _is_first(policy, baseline, logged):
        return f"all estimates rank the policy above {best} and the logged behavior"
    return f"the estimates disagree whether the policy is better than {best} and the logged behavior"


def _undefined(policy: Mapping[str, Bounds], baseline: Mapping[str, Bounds], names: Sequence[str]) -> list[str]:
    """The estimators that have no number: a fit that diverged ranks nothing."""
    return [name for name in names if math.isnan(policy[name].value) or math.isnan(baseline[name].value)]


def _shortfalls(
    policy: Mapping[str, Bounds], baseline: Mapping[str, Bounds], logged: Bounds, trusted: int
) -> Iterator[str]:
    """What keeps a policy that all estimates rank first from being deployed: the first reason."""
    if trusted < FEWEST_STEPS:
        yield f"the world model is trusted for {counted(trusted, 'step')} only"
        return
    for name in DECIDING:
        rival = max(baseline[name].value, logged.value)
        if not policy[name].low > rival:  # nor is NaN
            yield f"the lower bound by {LABELS[name]}, {number(policy[name].low)}, is not above {number(rival)}"
            return


def _compared(policy: Bounds, rival: Bounds, name: str) -> str:
    relation = "above" if policy.above(rival) else "below" if policy.below(rival) else "not clearly different from"
    return f"{relation} {name} ({with_bounds(rival)})"
