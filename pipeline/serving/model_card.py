"""What both policy stages say of the bundle they write."""

from pipeline.envs.action_space import DISCRETE
from pipeline.serving.bundle import BundleSpec

SCORES_ELSEWHERE = "In `reports/model_card.md` and `reports/metrics/evaluate.json` of the run that made this bundle."


def model_card(facts: BundleSpec, scores: str = SCORES_ELSEWHERE) -> str:
    """The bundle's README.md; scores are measured after the bundle was made, so there it says where they stand."""
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
| data | {data["name"]} ({data["source"]}): {data["transitions"]:,} transitions in {data["episodes"]:,} episodes |
| digest of the data | `{data["digest"]}` |
| license of the data | {data["license"] or "not stated"} |
| seed | {facts.seed} |
| privileged knowledge | {privileged} |
| observations | {_observations(facts)} |
| actions | {_actions(facts)} |

## Scores

{scores.strip()}

## Use

```python
from pipeline.serving.agent import load_agent

agent = load_agent("this folder")
agent.reset(1)  # how many episodes run side by side
action = agent.act(obs)  # obs: a dict of the observations above, one row an episode
```

## Limits

Trust it only where the logs went; `reports/index.html` of its run shows where its world model errs.
"""


def _observations(facts: BundleSpec) -> str:
    """Every key with its shape, and of vectors the names of their entries in order."""
    names = facts.dataset.get("obs_names", {})
    told = [(f"{key}: {' x '.join(map(str, shape))}", names.get(key, [])) for key, shape in facts.obs_shapes.items()]
    return "; ".join(f"{key} ({', '.join(entries)})" if entries else key for key, entries in told)


def _actions(facts: BundleSpec) -> str:
    count = len(facts.action_low)
    if facts.action_kind == DISCRETE:
        return f"one of {count}, numbered from {facts.action_start} on"
    return f"{count}, from {facts.action_low} to {facts.action_high}"
