"""A policy as learning leaves it, with all that it needs to act and to be stored."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.encoders.statistics import DataSpec
from pipeline.policies.history import PolicyHistory
from pipeline.policies.protocols import Policy
from pipeline.policies.start import Lineage
from pipeline.protocols import StateEncoder


@dataclass(frozen=True)
class LearnedPolicy:
    """``encoder`` turns observations into the states of ``policy``. ``history`` is the content of
    ``history.json``."""

    name: str  # in the registry LEARNERS
    policy: Policy
    config: Any  # the policy's frozen dataclass of options
    encoder: StateEncoder
    data_spec: DataSpec
    seed: int
    privileged_knowledge: list[str] = field(default_factory=list)
    penalty: dict[str, Any] = field(default_factory=dict)  # name and weight; empty for pure imitation
    start: Lineage | None = None  # None: learned from scratch
    history: PolicyHistory = field(default_factory=lambda: PolicyHistory([]))
