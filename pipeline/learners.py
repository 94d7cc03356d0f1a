"""Everything that can act: ``LEARNERS`` is what ``policy.name`` in params.yaml chooses from."""

from pipeline.policies import POLICIES
from pipeline.policies.planning import PLANNERS
from pipeline.policies.protocols import Policy

LEARNERS: dict[str, type[Policy]] = {**POLICIES, **PLANNERS}
