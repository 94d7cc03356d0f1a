"""The sentence at the top of the report, from the numbers alone."""

from pipeline.evaluation.results import ScoreSummary
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import mean_return, number
from pipeline.reporting.text.score_lines import AGENTS


def headline(results: Results) -> str:
    """Whether the policy beats logged behavior and behavior cloning, and by how much. Overlapping intervals give no
    verdict."""
    policy = results.summary("policy")
    if policy is None:
        return _without_environment(results)
    rivals = {AGENTS[name]: score for name in ("logged", "bc") if (score := results.summary(name))}
    compared = " and ".join(compare(policy, rival, name) for name, rival in rivals.items())
    return f"With a mean return of {mean_return(policy)} (95 % interval), the policy {compared}."


def compare(policy: ScoreSummary, rival: ScoreSummary, name: str) -> str:
    """ "beats logged behavior, −613.1 [−656.2, −557.5], by 423.6 (…)", or no verdict if the intervals overlap."""
    difference = policy.return_mean - rival.return_mean
    policy_low, policy_high = policy.return_mean_ci95
    rival_low, rival_high = rival.return_mean_ci95
    if policy_low <= rival_high and rival_low <= policy_high:
        return f"cannot be distinguished from {name}, {mean_return(rival)} (intervals overlap)"
    verb = "beats" if difference > 0 else "falls short of"
    return f"{verb} {name}, {mean_return(rival)}, by {number(abs(difference))} (intervals do not overlap)"


def _without_environment(results: Results) -> str:
    logged = results.summary("logged")
    steps = f"{results.dataset.episode_lengths('all').mean():,.0f}"
    behavior = f" Logged episodes return {mean_return(logged)}, in {steps} steps on average." if logged else ""
    return (
        "The policy was not run in a real environment, so it is unknown whether it beats logged behavior. The world"
        f" model predicts a return of {number(results.evaluation.imagined_return)} over"
        f" {results.evaluation.imagination.horizon} steps.{behavior}"
    )
