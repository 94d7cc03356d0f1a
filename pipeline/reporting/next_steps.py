"""Three next steps after a report, the most urgent first."""

from collections.abc import Iterator

from pipeline.assessment.gate import NO_REWARD, failures
from pipeline.evaluation.results import POLICY, Learner
from pipeline.reporting.results import Results
from pipeline.reporting.status import DEPLOY, STAY, UNKNOWN
from pipeline.reporting.text.limits import FEW_SEEDS

COUNT = 3
WEIGHS_IMITATION = "sac"  # the learner with `policy.bc_weight`
MORE = [  # where nothing else is to be done
    "Measure what more logs are worth: `python -m pipeline efficiency`.",
    "Add logs of other behavior to the dataset, and run again.",
]
CONSTANT = 0.01  # spread of the actions, of half their range; below, a policy does the same in every state


def next_steps(status: str, results: Results, baseline: str | None = None) -> list[str]:
    """What to do after a decision of this status. ``baseline``: the one to deploy."""
    after = {DEPLOY: _after_deploy, STAY: _after_stay, UNKNOWN: _after_unknown}
    caution = () if status == DEPLOY else _caution(results.evaluation.learners[POLICY])
    first = after[status](results) if baseline is None else _after_baseline(results, baseline)
    return list(dict.fromkeys([*first, *caution, *_seeds(results), *MORE]))[:COUNT]


def action_spread(results: Results) -> float | None:
    """How much the actions of the least varied policy vary, of half their range; None without an environment."""
    visited = results.evaluation.visited
    spreads = [seed.action_spread for seed in visited.by_seed if seed.action_spread is not None] if visited else []
    return min(spreads, default=None)


def _after_deploy(results: Results) -> Iterator[str]:
    folder = f"data/policy/seed-{results.seeds[0]}"
    if results.evaluation.environment is None:
        yield "Try the policy where a person can step in: estimates from logs are no proof."
    yield f"Load `{folder}` with `load_agent`, export it with `python -m pipeline export`, or serve it with MLflow."
    yield from _seeds(results)
    yield "Log what the policy does, add these logs to the dataset, and run again."


def _after_baseline(results: Results, baseline: str) -> Iterator[str]:
    folder = f"data/baselines/seed-{results.seeds[0]}/{baseline}"
    if results.evaluation.environment is None:
        yield f"Try `{folder}` where a person can step in: estimates from logs are no proof. It needs no world model."
    else:
        yield f"Use `{folder}`: it learned from the logs alone and needs no world model."
    yield from _model(results)
    yield from _checks(results)


def _after_stay(results: Results) -> Iterator[str]:
    yield from _checks(results)
    yield from _model(results)
    yield "Keep the logged behavior in use; `data/policy` is for study only."


def _after_unknown(results: Results) -> Iterator[str]:
    yield from _checks(results)
    goal = "Check that the reward asks for the goal, and that some logged episodes reach it."
    spread = action_spread(results)
    constant = spread is not None and spread < CONSTANT
    if constant:
        yield goal
    if results.evaluation.environment is None:
        yield "Keep the logged behavior in use."
        if _above_logs(results):
            yield "Try the policy where a person can step in, add these logs to the dataset, and run again."
        yield from _model(results)
    elif not constant and (policy := results.summary("policy")):
        episodes = policy.episodes // policy.seeds
        yield f"Narrow the intervals by more episodes: `evaluation.episodes`, now {episodes}."
    yield from _seeds(results)
    yield goal


def _above_logs(results: Results) -> bool:
    """Whether fitted Q evaluation puts the policy above the logs."""
    estimate = results.offline.agents["policy"].fqe.per_step
    return estimate is not None and estimate > results.offline.logged.per_step


def _checks(results: Results) -> Iterator[str]:
    """The fix of the first serious data check."""
    for check in results.checks:
        if check.severity == "serious":
            yield f"Fix the data check {check.name.replace('_', ' ')}: {check.remedy}."
            return


def _model(results: Results) -> Iterator[str]:
    """What helps a world model that fails its gate."""
    faults = {fault for errors in results.errors.values() for fault in failures(errors)}
    if faults and any(history.stopped == "limit" for history in results.world_model.values()):
        yield "Train the world model longer: it was still improving at `fit.max_epochs`."
    if faults - {NO_REWARD}:
        yield (
            "Improve the world model first: more or cleaner logs, the columns that the next step depends on,"
            " `world_model.history: 5` or `world_model.name: rssm` where one observation is not the full state."
        )
    if NO_REWARD in faults:
        yield (
            "Make the reward predictable first: observe what it depends on, define it in `dataset.transform`, or log"
            " more steps on which it is not zero."
        )


def _seeds(results: Results) -> Iterator[str]:
    if len(results.seeds) < FEW_SEEDS:
        yield "Set `seeds: [0, 1, 2]` and run again: training runs differ, and fewer seeds do not show by how much."


def _caution(learner: Learner) -> Iterator[str]:
    """How to stay closer to the logs with this learner."""
    if not learner.world_model:
        return
    if learner.name == WEIGHS_IMITATION:
        yield (
            "Stay closer to the logs: raise `policy.bc_weight` (0.1 is weak, narrow logs need up to 10), and to the"
            " best of them: `policy.return_temperature: 0.05`."
        )
    yield "Compare penalties: `python -m pipeline sweep penalty.name=ensemble_std,disagreement penalty.weight=1,3`."
