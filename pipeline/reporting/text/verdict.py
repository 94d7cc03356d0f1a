"""The one sentence at the top of the report, from the numbers alone."""

import math

from pipeline.reporting.results import Json, Results
from pipeline.reporting.text.score_lines import AGENTS


def headline(results: Results) -> str:
    """Does the policy beat logged behaviour and cloning it, and by how much? Overlapping intervals are no verdict."""
    policy = results.summary("policy")
    if policy is None:
        return _without_environment(results)
    rivals = {AGENTS[name]: s for name in ("logged", "bc") if (s := results.summary(name))}
    compared = " and ".join(compare(policy, summary, name) for name, summary in rivals.items())
    return f"With a mean return of {with_interval(policy)} (95 %) the policy {compared}."


def compare(policy: Json, rival: Json, name: str) -> str:
    """ "beats logged behaviour, −613.1 [−656.2, −557.5], by 423.6 (…)", or that overlapping intervals tell nothing."""
    difference = policy["return_mean"] - rival["return_mean"]
    if policy["return_ci95"][0] <= rival["return_ci95"][1] and rival["return_ci95"][0] <= policy["return_ci95"][1]:
        return f"cannot be told from {name}, {with_interval(rival)} (intervals overlap)"
    verb = "beats" if difference > 0 else "falls short of"
    return f"{verb} {name}, {with_interval(rival)}, by {number(abs(difference))} (intervals do not overlap)"


def _without_environment(results: Results) -> str:
    imagination, logged = results.evaluation["imagination"], results.summary("logged")
    steps = f"{results.dataset.episode_lengths('all').mean():,.0f}"
    behaviour = f" Logged episodes return {with_interval(logged)}, in {steps} steps on average." if logged else ""
    return (
        "The policy was not run in a real environment, so whether it beats logged behaviour is not known. The world"
        f" model promises it a return of {number(results.evaluation['imagined_return'])} over {imagination['horizon']}"
        f" steps.{behaviour}"
    )


def number(value: float | None) -> str:
    """Three to four significant digits, thousands separated, a real minus; a dash where nothing is known."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}" if abs(value) >= 1 or value == 0 else f"{value:#.3g}"
    return text.replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    """The sign does not part from its number."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"[{number(bounds[0])}, {number(bounds[1])}]"


def with_interval(summary: Json) -> str:
    """Mean return and its interval."""
    return f"{number(summary['return_mean'])} {interval(summary['return_ci95'])}"
