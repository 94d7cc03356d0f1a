"""Learners and planners. ``policy.name`` in params.yaml chooses from ``LEARNERS``, the list ``baselines`` from
``BASELINES``, those that need no world model."""

from pipeline.policies.actor_critic import ActorCritic
from pipeline.policies.bc import BehaviorCloning
from pipeline.policies.iql import IQL
from pipeline.policies.planning import PLANNERS
from pipeline.policies.protocols import Policy, PolicyLearner
from pipeline.policies.rebrac import ReBRAC
from pipeline.policies.sac import SAC
from pipeline.policies.td3_bc import TD3BC
from pipeline.policies.weighted_bc import WeightedBC

POLICIES: dict[str, type[PolicyLearner]] = {
    "sac": SAC,
    "actor_critic": ActorCritic,
    "bc": BehaviorCloning,
    "weighted_bc": WeightedBC,
    "td3_bc": TD3BC,
    "iql": IQL,
    "rebrac": ReBRAC,
}
BASELINES = {name: learner for name, learner in POLICIES.items() if learner.model_free}
LEARNERS: dict[str, type[Policy]] = {**POLICIES, **PLANNERS}
