"""The result of one check on a log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SEVERITIES = ("info", "inconclusive", "warning", "serious")
INCONCLUSIVE = SEVERITIES[1]  # the check can neither warn nor pass
DIGITS = 4  # significant digits: the remaining ones of a regression differ between machines


@dataclass(frozen=True)
class CheckResult:
    """What a check measured and what it means.

    ``evidence`` maps a name to a number, a name, or a list of them for the figure. ``meaning`` is one sentence.
    ``remedy`` names the option that fixes the problem; it is empty where there is none.
    """

    name: str
    severity: str
    evidence: dict[str, Any]
    meaning: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES, self.severity
        assert self.passed or self.remedy, f"{self.name}: a warning needs a remedy"
        object.__setattr__(self, "evidence", json_value(self.evidence))

    @property
    def warns(self) -> bool:
        """Whether the user should act: the log has, or may have, a fault."""
        return self.severity in ("warning", "serious")

    @property
    def passed(self) -> bool:
        """Whether the check measured enough, and nothing wrong."""
        return self.severity == "info"

    @property
    def line(self) -> str:
        """One line for the log of a stage."""
        return f"{self.severity}: {self.name}: {self.meaning} ({evidence_text(self.evidence)}); {self.remedy}"


def evidence_text(evidence: Mapping[str, object]) -> str:
    """The numbers and names of ``evidence`` as text; lists are left to the figure."""
    scalars = {k.replace("_", " "): v for k, v in evidence.items() if not isinstance(v, list)}
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in scalars.items())


def json_value(value: object) -> Any:
    """``value`` in plain JSON types: floats to four significant digits, NaN and infinity as None."""
    if isinstance(value, dict):
        return {k: json_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [json_value(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
