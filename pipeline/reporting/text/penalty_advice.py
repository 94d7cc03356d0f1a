"""Which penalty to use: the one that ``penalty.name: auto`` takes. What only an environment can show stands apart."""

from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import fixed, listed
from pipeline.reporting.trust import PenaltySummary, penalties, ranked_on_logs

ALIKE = 0.03  # penalties whose scores differ by less count as equally good
WEAK = 0.3  # a rank correlation below this is too weak to rely on
BLIND = 0.6  # an AUC below this hardly separates one action from another


def recommended(results: Results) -> dict[str, list[int]]:
    """The penalties that ``auto`` takes, each with its seeds; most runs have one for all seeds."""
    seeds: dict[str, list[int]] = {}
    for seed, calibration in results.calibration.items():
        seeds.setdefault(calibration.best_penalty, []).append(seed)
    return seeds


def which_penalty(results: Results, used: str | None) -> list[str]:
    """Sentences on the recommended penalty, from held-out logs alone. ``used``: the penalty of this run."""
    seeds, ranked = recommended(results), ranked_on_logs(results)
    taken = [name if len(seeds) == 1 else f"{name} ({_seeds(numbers)})" for name, numbers in seeds.items()]
    sentences = [f"`penalty.name: auto` takes {listed(taken)}."]
    best = next(iter(seeds))
    if best in ranked:
        sentences += _quality(ranked[best], best if len(seeds) > 1 else "Its")
        score = ranked[best].score or 0.0
        alike = [n for n, p in ranked.items() if abs(score - (p.score or 0.0)) < ALIKE and n not in seeds]
        if alike:
            sentences.append(f"On the logs, {listed(alike)} {'does' if len(alike) == 1 else 'do'} about as well.")
    if used in ranked:
        sentences.append(f"This run used {'it' if [used] == [*seeds] else used}.")
    return sentences


def in_the_environment(results: Results) -> list[str]:
    """How the recommended penalty and the best one rank errors where the policy goes; empty without an environment."""
    ranks = {name: p.visited for name, p in penalties(results).items() if p.visited is not None}
    best = next(iter(recommended(results)))
    if best not in ranks:
        return []
    top = max(ranks, key=lambda name: ranks[name])
    there = "" if top == best else f"; {top} ranks best there ({fixed(ranks[top])})"
    return [
        f"On real steps of the policy, the rank correlation of {best} with the error is {fixed(ranks[best])}{there}."
        " `auto` does not use this: it needs an environment."
    ]


def _quality(penalty: PenaltySummary, whose: str) -> list[str]:
    near, far = min(penalty.along, default=1), max(penalty.along, default=1)
    possessive = whose if whose == "Its" else f"{whose}'s"
    sentences = [
        f"{possessive} rank correlation with the error of one held-out step is {_rank(penalty.spearman)}; that of"
        f" its sum along imagined rollouts with their error is {_rank(penalty.along.get(near))} after {near} step and"
        f" {_rank(penalty.along.get(far))} after {far}."
    ]
    if (penalty.spearman or 0.0) < WEAK:
        sentences.append("This is weak: no penalty here ranks the model's errors well, so keep rollouts short.")
    elif (penalty.along.get(far) or 0.0) < WEAK:
        sentences.append("It ranks single steps, but not long rollouts: do not rely on it to stop them.")
    if penalty.auc is not None and penalty.auc < BLIND:
        sentences.append(
            f"It hardly separates logged actions from others (AUC {_rank(penalty.auc)}): either the logs hold many"
            " actions for each state, or the penalty does not depend on the action."
        )
    return sentences


def _seeds(numbers: list[int]) -> str:
    return f"seed{'s'[: len(numbers) > 1]} {', '.join(map(str, numbers))}"


def _rank(value: float | None) -> str:
    return "undefined" if value is None else fixed(value)
