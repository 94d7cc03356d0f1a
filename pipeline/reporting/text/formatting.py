"""Numbers as the report prints them."""

import math

from pipeline.reporting.results import Json


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
