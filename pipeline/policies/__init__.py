"""Policy learners. ``POLICIES`` is what ``policy.name`` in params.yaml chooses from."""

from pipeline.policies.bc import BehaviourCloning
from pipeline.policies.sac import SAC

POLICIES = {"sac": SAC, "bc": BehaviourCloning}
