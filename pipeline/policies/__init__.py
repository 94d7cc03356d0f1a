"""Learners and planners. ``policy.name`` in params.yaml chooses from ``LEARNERS``."""

from pipeline.policies.actor_critic import ActorCritic
from pipeline.policies.bc import BehaviorCloning
from pipeline.policies.planning import PLANNERS
from pipeline.policies.protocols import Policy, PolicyLearner
from pipeline.policies.sac import SAC

POLICIES: dict[str, type[PolicyLearner]] = {"sac": SAC, "actor_critic": ActorCritic, "bc": BehaviorCloning}
LEARNERS: dict[str, type[Policy]] = {**POLICIES, **PLANNERS}
