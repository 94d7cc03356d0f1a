"""What a check on a log has to say."""

from dataclasses import dataclass
from typing import Any

import numpy as np

SEVERITIES = ("info", "warning", "serious")
DIGITS = 4  # significant: the last ones of a regression depend on the machine


@dataclass(frozen=True)
class Finding:
    """``evidence`` holds numbers, names, or lists of them for the figure; ``meaning`` is one sentence; ``remedy`` names
    the option that mends it, empty where nothing needs mending."""

    name: str
    severity: str
    evidence: dict[str, Any]
    meaning: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES, self.severity
        assert self.severity == "info" or self.remedy, f"{self.name}: a warning says what mends it"
        object.__setattr__(self, "evidence", rounded(self.evidence))

    @property
    def warns(self) -> bool:
        return self.severity != "info"

    @property
    def line(self) -> str:
        """One line for the log of a stage."""
        return f"{self.severity}: {self.name}: {self.meaning} ({shown(self.evidence)}); {self.remedy}"


def shown(evidence: dict[str, Any]) -> str:
    """The numbers and names of ``evidence`` as text; lists are for figures."""
    told = {k.replace("_", " "): v for k, v in evidence.items() if not isinstance(v, list)}
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())


def rounded(value: Any) -> Any:
    """Plain JSON values, floats to four significant digits; what is not finite becomes None."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
