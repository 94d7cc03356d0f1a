"""A look at the policy in the real environment while it learns: for the learning curve, nothing is chosen by it."""

from pipeline.evaluation import MonitorConfig
from pipeline.evaluation.episodes import run_episodes
from pipeline.policies.protocols import Policy
from pipeline.protocols import StateEncoder
from pipeline.serving.agent import PolicyAgent
from pipeline.serving.bundle import BundleSpec
from pipeline.types import Metrics


class Monitor:
    """Called with the number of updates done; returns the mean return when a look is due."""

    def __init__(self, config: MonitorConfig, policy: Policy, encoder: StateEncoder, spec: BundleSpec) -> None:
        self.config, self.policy, self.encoder, self.spec = config, policy, encoder, spec

    def __call__(self, updates: int) -> Metrics:
        due = self.config.every > 0 and updates % self.config.every == 0
        if not due or self.spec.env_id is None:
            return {}
        agent = PolicyAgent(self.policy, self.encoder, self.spec)
        config, facts = self.config, self.spec
        results = run_episodes(agent, facts.env_id, facts.env_kwargs, config.episodes, config.seed)  # type: ignore[arg-type]
        return {"return_mean": float(results.returns.mean())}
