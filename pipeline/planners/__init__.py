"""Planners: they learn no policy, but look for the best plan in imagination at every step. ``PLANNERS`` joins the
policies in what ``policy.name`` in params.yaml chooses from (:mod:`pipeline.learners`)."""

from pipeline.planners.cem import CEM
from pipeline.planners.icem import ICEM
from pipeline.planners.mppi import MPPI
from pipeline.planners.planner import Planner
from pipeline.policies.protocols import PlanningPolicy

PLANNERS: dict[str, type[PlanningPolicy]] = {"cem": CEM, "icem": ICEM, "mppi": MPPI}

__all__ = ["PLANNERS", "Planner"]
