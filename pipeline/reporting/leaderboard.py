"""The leaderboard of several runs: what ``compare`` and ``sweep`` show."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.evaluation.results import Interval
from pipeline.tracking.stage_lines import duration

REFERENCE = "reference"


@dataclass(frozen=True)
class Row:
    """One run. None where it was not measured, or where what it needs is missing."""

    place: int
    name: str
    reference: bool  # whether the others are compared with this one
    status: str | None  # of the decision
    seeds: int
    episodes: int  # of all seeds together; 0: unknown
    return_mean: float | None
    return_ci: Interval | None
    iqm: float | None
    iqm_ci: Interval | None
    improvement: float | None  # probability that an episode has a higher return than one of the reference
    improvement_ci: Interval | None
    estimates: dict[str, float]  # offline, by name
    seconds: float | None


@dataclass(frozen=True)
class Leaderboard:
    """Runs, the best first, and what a reader has to know of them."""

    title: str
    ranked_by: str
    rows: list[Row]
    notes: list[str]

    @property
    def header(self) -> list[str]:
        """Titles of the columns."""
        return [title for title, _ in self._columns()]

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        columns = [cells for _, cells in self._columns()]
        return [list(row) for row in zip(*columns, strict=True)]

    def _columns(self) -> list[tuple[str, list[str]]]:
        """The columns that hold something."""
        rows = self.rows
        columns = [
            ("", [str(row.place) for row in rows]),
            ("run", [row.name for row in rows]),
            ("decision", [row.status or "–" for row in rows]),
            ("return [95 %]", [interval(row.return_mean, row.return_ci) for row in rows]),
            ("IQM [95 %]", [interval(row.iqm, row.iqm_ci) for row in rows]),
            ("P(improvement) [95 %]", [_improvement(row) for row in rows]),
            ("FQE (lower bound)", [_fqe(row.estimates) for row in rows]),
            ("world model", [number(row.estimates.get("model")) for row in rows]),
            ("seeds × episodes", [f"{row.seeds} × {row.episodes // max(row.seeds, 1) or '–'}" for row in rows]),
            ("compute", ["–" if row.seconds is None else duration(row.seconds) for row in rows]),
        ]
        empty = {"–", REFERENCE}
        filled = [any(cell not in empty and not cell.endswith("× –") for cell in cells) for _, cells in columns]
        return [column for column, keep in zip(columns, filled, strict=True) if keep]


def number(value: float | None) -> str:
    """A number with four digits; a dash for None."""
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def interval(value: float | None, bounds: Interval | None) -> str:
    """A number and its interval: ``-135.9 [-150.2, -121.0]``."""
    if value is None or bounds is None:
        return number(value)
    return f"{number(value)} [{number(bounds[0])}, {number(bounds[1])}]"


def _fqe(estimates: Mapping[str, float]) -> str:
    value, low = (number(estimates.get(key)) for key in ("fqe", "fqe_low"))
    return value if low == "–" else f"{value} ({low})"


def _improvement(row: Row) -> str:
    if row.reference:
        return REFERENCE
    if row.improvement is None or row.improvement_ci is None:
        return "–"
    return f"{row.improvement:.2f} [{row.improvement_ci[0]:.2f}, {row.improvement_ci[1]:.2f}]"
