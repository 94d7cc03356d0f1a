"""Numbers as the report prints them."""

import math

from pipeline.evaluation.results import ScoreSummary


def number(value: float | None) -> str:
    """Three to four significant digits, thousands separated, a true minus sign; a dash for None or not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}" if abs(value) >= 1 or value == 0 else f"{value:#.3g}"
    return text.replace("-", "−")


def fixed(value: float | None, digits: int = 2) -> str:
    """A fixed number of decimals, a true minus sign; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage; a no-break space keeps number and sign on one line. A dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def interval(low: float, high: float) -> str:
    """ "[low, high]"."""
    return f"[{number(low)}, {number(high)}]"


def with_interval(value: float | None, bounds: tuple[float, float] | None) -> str:
    """A number and its own interval: "12.3 [11.0, 13.5]"."""
    return number(value) if bounds is None else f"{number(value)} {interval(*bounds)}"


def mean_return(summary: ScoreSummary) -> str:
    """Mean return and its 95 % interval."""
    return with_interval(summary.return_mean, summary.return_mean_ci95)


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
