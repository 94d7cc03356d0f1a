"""The one sentence at the top of the report, from the numbers alone."""

from pipeline.reporting.results import Json, Results
from pipeline.reporting.text.formatting import number, with_interval
from pipeline.reporting.text.score_lines import AGENTS


def headline(results: Results) -> str:
    """Does the policy beat logged behavior and cloning it, and by how much? Overlapping intervals are no verdict."""
    policy = results.summary("policy")
    if policy is None:
        return _without_environment(results)
    rivals = {AGENTS[name]: s for name in ("logged", "bc") if (s := results.summary(name))}
    compared = " and ".join(compare(policy, summary, name) for name, summary in rivals.items())
    return f"With a mean return of {with_interval(policy)} (95 %) the policy {compared}."


def compare(policy: Json, rival: Json, name: str) -> str:
    """ "beats logged behavior, −613.1 [−656.2, −557.5], by 423.6 (…)", or that overlapping intervals tell nothing."""
    difference = policy["return_mean"] - rival["return_mean"]
    if policy["return_ci95"][0] <= rival["return_ci95"][1] and rival["return_ci95"][0] <= policy["return_ci95"][1]:
        return f"cannot be told from {name}, {with_interval(rival)} (intervals overlap)"
    verb = "beats" if difference > 0 else "falls short of"
    return f"{verb} {name}, {with_interval(rival)}, by {number(abs(difference))} (intervals do not overlap)"


def _without_environment(results: Results) -> str:
    imagination, logged = results.evaluation["imagination"], results.summary("logged")
    steps = f"{results.dataset.episode_lengths('all').mean():,.0f}"
    behavior = f" Logged episodes return {with_interval(logged)}, in {steps} steps on average." if logged else ""
    return (
        "The policy was not run in a real environment, so whether it beats logged behavior is not known. The world"
        f" model promises it a return of {number(results.evaluation['imagined_return'])} over {imagination['horizon']}"
        f" steps.{behavior}"
    )
