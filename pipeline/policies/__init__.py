"""Policy learners. ``POLICIES`` is what ``policy.name`` in params.yaml chooses from."""

from pipeline.policies.actor_critic import ActorCritic
from pipeline.policies.bc import BehaviourCloning
from pipeline.policies.protocols import PolicyLearner
from pipeline.policies.sac import SAC

POLICIES: dict[str, type[PolicyLearner]] = {"sac": SAC, "actor_critic": ActorCritic, "bc": BehaviourCloning}
