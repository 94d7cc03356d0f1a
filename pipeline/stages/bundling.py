"""What both policy stages say of the bundle they write."""

import dataclasses
from typing import Any

from pipeline.bundle import BundleFacts
from pipeline.data.store import PreparedDataset
from pipeline.standardise import Facts


def bundle_facts(
    policy: str, config: Any, dataset: PreparedDataset, facts: Facts, seed: int, privileged: list[str]
) -> BundleFacts:
    """The facts of a bundle learned from ``dataset``."""
    spec = dataset.spec
    return BundleFacts(
        policy=policy,
        config=dataclasses.asdict(config),
        obs_shapes=facts.obs_shapes,
        statistics=dataclasses.asdict(facts.statistics),
        action_low=spec.action_low,
        action_high=spec.action_high,
        env_id=spec.env_id,
        env_kwargs=spec.env_kwargs,
        dataset={k: getattr(spec, k) for k in ("name", "digest", "licence", "transitions", "episodes", "source")},
        seed=seed,
        privileged_knowledge=privileged,
    )


def model_card(facts: BundleFacts) -> str:
    """The bundle's README.md. Scores are measured later and stand in the report."""
    data = facts.dataset
    privileged = "; ".join(facts.privileged_knowledge) or "none: everything was learned from the logs"
    return f"""---
pipeline_tag: reinforcement-learning
tags: [offline-reinforcement-learning, {facts.policy}]
---

# {facts.policy} policy for {facts.env_id or data["name"]}

Learned offline from logs alone; the environment was not used for learning.

| | |
|---|---|
| data | {data["name"]} ({data["source"]}): {data["transitions"]} transitions in {data["episodes"]} episodes |
| digest of the data | `{data["digest"]}` |
| licence of the data | {data["licence"] or "not stated"} |
| seed | {facts.seed} |
| privileged knowledge | {privileged} |
| observations | {facts.obs_shapes} |
| actions | {len(facts.action_low)}, from {facts.action_low} to {facts.action_high} |

**Use**: `from pipeline.agents import load_agent; agent = load_agent(folder); agent.reset(n); agent.act(obs)`.
**Scores**: `reports/metrics/evaluate.json` of the run that made this bundle, with intervals, beside logged behaviour.
**Limits**: trust it only where the logs went; the report shows where its world model errs.
"""
