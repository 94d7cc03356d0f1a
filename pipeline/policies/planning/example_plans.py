"""Example plans of a planner, for the report."""

import torch

from pipeline.policies.history import Plans
from pipeline.policies.protocols import PlanningPolicy
from pipeline.seeding import generator
from pipeline.types import Transitions

PLANS = 4  # example plans


def example_plans(planner: PlanningPolicy, held_out: Transitions, seed: int) -> Plans:
    """Plans without warm start from a few random held-out states "S Z", and the rollouts that the model predicts for
    them."""
    rows = torch.randperm(len(held_out), generator=generator(seed, "policy", "plans"))[:PLANS]
    rollout = planner.predicted_rollout(held_out[rows].state)
    return Plans(
        action=rollout.action.tolist(),
        reward=rollout.reward.tolist(),
        penalty=rollout.penalty.tolist(),
        alive=rollout.alive.tolist(),
    )
