"""Planners search in the world model at every step and need no training. ``policy.name`` in params.yaml chooses from
``PLANNERS`` and the learners (:data:`pipeline.policies.LEARNERS`)."""

from pipeline.policies.planning.cem import CEM
from pipeline.policies.planning.icem import ICEM
from pipeline.policies.planning.mppi import MPPI
from pipeline.policies.planning.planner import Planner
from pipeline.policies.protocols import PlanningPolicy

PLANNERS: dict[str, type[PlanningPolicy]] = {"cem": CEM, "icem": ICEM, "mppi": MPPI}

__all__ = ["PLANNERS", "Planner"]
