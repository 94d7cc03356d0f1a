"""Planners: they learn no policy, but look for the best plan in imagination at every step. ``PLANNERS`` joins the
policies in what ``policy.name`` in params.yaml chooses from (:mod:`pipeline.learners`)."""

from pipeline.policies.planning.cem import CEM
from pipeline.policies.planning.icem import ICEM
from pipeline.policies.planning.mppi import MPPI
from pipeline.policies.planning.planner import Planner
from pipeline.policies.protocols import PlanningPolicy

PLANNERS: dict[str, type[PlanningPolicy]] = {"cem": CEM, "icem": ICEM, "mppi": MPPI}

__all__ = ["PLANNERS", "Planner"]
