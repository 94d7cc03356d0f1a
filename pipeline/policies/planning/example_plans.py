"""Some plans of a planner, for the report."""

from typing import Any

import torch

from pipeline.policies.protocols import PlanningPolicy
from pipeline.seeding import generator
from pipeline.types import Transitions

PLANS = 4


def shown_plans(planner: PlanningPolicy, held_out: Transitions, seed: int) -> dict[str, list[Any]]:
    """Plans from a few held-out states "S Z", each made from nothing, and what the model expects of them: ``action``
    "S T A" in [-1, 1], ``reward``, ``penalty`` and ``alive`` "S T"."""
    picks = torch.randperm(len(held_out), generator=generator(seed, "policy", "plans"))[:PLANS]
    foreseen = planner.foreseen(held_out[picks].state)
    return {name: getattr(foreseen, name).tolist() for name in ("action", "reward", "penalty", "alive")}
