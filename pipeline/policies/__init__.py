"""Policy learners. ``POLICIES`` is what ``policy.name`` in params.yaml chooses from."""

from typing import Any

from pipeline.policies.actor_critic import ActorCritic
from pipeline.policies.bc import BehaviourCloning
from pipeline.policies.sac import SAC

POLICIES: dict[str, Any] = {"sac": SAC, "actor_critic": ActorCritic, "bc": BehaviourCloning}
