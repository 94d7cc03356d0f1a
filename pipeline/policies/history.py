"""What ``history.json`` of a policy holds, for the report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plans:
    """Example plans "S T" of a planner, from S states."""

    action: list[list[list[float]]]  # "S T A" in [-1, 1]
    reward: list[list[float]]
    penalty: list[list[float]]
    alive: list[list[float]]  # 1.0 up to the end of the plan


@dataclass(frozen=True)
class PolicyHistory:
    """Training of one policy."""

    rows: list[dict[str, float | None]]  # metrics by name at every ``update``
    plans: Plans | None = None  # of a policy that plans
