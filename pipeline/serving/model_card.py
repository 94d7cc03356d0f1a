"""The model card of a policy bundle, as Markdown."""

from typing import TYPE_CHECKING

from pipeline.envs.action_space import DISCRETE

if TYPE_CHECKING:
    from pipeline.serving.bundle import BundleSpec

SCORES_ELSEWHERE = "See `reports/model_card.md` and `reports/metrics/evaluate.json` of the run that made this bundle."


def model_card(spec: "BundleSpec") -> str:
    """The bundle's README.md. Policies are scored after the bundle is written, so its card only says where scores
    are."""
    data = spec.dataset
    privileged = "; ".join(spec.privileged_knowledge) or "none: everything was learned from the logs"
    return f"""---
pipeline_tag: reinforcement-learning
tags: [offline-reinforcement-learning, {spec.policy}]
---

# {spec.policy} policy for {spec.env_id or data["name"]}

Learned offline from logs; the environment was not used for learning.

| | |
|---|---|
| data | {data["name"]} ({data["source"]}): {data["transitions"]:,} transitions in {data["episodes"]:,} episodes |
| digest of the data | `{data["digest"]}` |
| license of the data | {data["license"] or "not stated"} |
| seed | {spec.seed} |
| continued from | {_lineage(spec)} |
| privileged knowledge | {privileged} |
| observations | {_observations(spec)} |
| actions | {_actions(spec)} |

## Scores

{SCORES_ELSEWHERE}

## Use

```python
from pipeline.serving.agent import load_agent

agent = load_agent("this folder")
agent.reset(1)  # number of episodes that run in parallel
action = agent.act(obs)  # obs: a dict of the observations above, one row for each episode
```

## Limits

Trust the policy only in states like those of the logs; `reports/index.html` of its run shows where its world model is
wrong.
"""


def with_scores(card: str, scores: str) -> str:
    """The card of a bundle with its scores. Raises ValueError if it has no place for them."""
    if SCORES_ELSEWHERE not in card:
        raise ValueError("README.md of the policy has no place for scores; run `dvc repro --force learn_policy`")
    return card.replace(SCORES_ELSEWHERE, scores.strip())


def _lineage(spec: "BundleSpec") -> str:
    start = spec.start
    if start is None:
        return "nothing: learned from scratch"
    digest = start.weights_sha256
    return f"the policy of SHA-256 `{digest}` after {start.updates_before:,} updates, with {start.updates_since:,} more"


def _observations(spec: "BundleSpec") -> str:
    """Every key with its shape and, for vectors, the names of the entries in order."""
    names = spec.dataset.get("obs_names", {})
    rows = [(f"{key}: {' x '.join(map(str, shape))}", names.get(key, [])) for key, shape in spec.obs_shapes.items()]
    return "; ".join(f"{row} ({', '.join(entries)})" if entries else row for row, entries in rows)


def _actions(spec: "BundleSpec") -> str:
    count = len(spec.action_low)
    if spec.action_kind == DISCRETE:
        return f"one of {count}, numbered from {spec.action_start}"
    return f"{count}, from {spec.action_low} to {spec.action_high}"
