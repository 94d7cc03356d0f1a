"""Evaluates the policy in the real environment while it learns. This is for the learning curve only: training and
model selection never use it."""

import copy
import itertools
from typing import TypeVar

from torch import nn

from pipeline.evaluation import MonitorConfig
from pipeline.evaluation.episodes import run_episodes
from pipeline.policies.protocols import Policy
from pipeline.protocols import StateEncoder
from pipeline.serving.agent import PolicyAgent
from pipeline.serving.bundle import BundleSpec
from pipeline.types import Metrics

T = TypeVar("T")


class Monitor:
    """Runs a few real episodes every ``config.every`` updates."""

    def __init__(self, config: MonitorConfig, policy: Policy, encoder: StateEncoder, spec: BundleSpec) -> None:
        self.config, self.policy, self.encoder, self.spec = config, policy, encoder, spec

    def __call__(self, updates: int) -> Metrics:
        """The mean return after ``updates`` updates as ``return_mean``; empty when no evaluation is due, or without an
        environment."""
        config, env_id = self.config, self.spec.env_id
        due = config.every > 0 and updates % config.every == 0
        if not due or env_id is None:
            return {}
        agent = PolicyAgent(_on_cpu(self.policy), _on_cpu(self.encoder), self.spec)
        results = run_episodes(agent, env_id, self.spec.env_kwargs, config.episodes, config.seed)
        return {"return_mean": float(results.returns.mean())}


def _on_cpu(module: T) -> T:
    """``module`` itself, or a copy on the CPU, where agents act, while it learns on another device."""
    if not isinstance(module, nn.Module):
        return module
    tensors = itertools.chain(module.parameters(), module.buffers())
    return module if all(x.device.type == "cpu" for x in tensors) else copy.deepcopy(module).cpu()
