"""Example plans of a planner, for the report."""

from typing import Any

import torch

from pipeline.policies.protocols import PlanningPolicy
from pipeline.seeding import generator
from pipeline.types import Transitions

PLANS = 4  # example plans


def example_plans(planner: PlanningPolicy, held_out: Transitions, seed: int) -> dict[str, list[Any]]:
    """Plans without warm start from a few random held-out states "S Z", and the rollouts that the model predicts for
    them: ``action`` "S T A" in [-1, 1], ``reward``, ``penalty`` and ``alive`` "S T"."""
    rows = torch.randperm(len(held_out), generator=generator(seed, "policy", "plans"))[:PLANS]
    rollout = planner.predicted_rollout(held_out[rows].state)
    return {name: getattr(rollout, name).tolist() for name in ("action", "reward", "penalty", "alive")}
