"""What both policy stages say of the bundle they write."""

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders.frame_stack import StackedFrames
from pipeline.encoders.history import HistoryEncoder
from pipeline.encoders.standard import Facts, StandardEncoder
from pipeline.envs.action_space import DISCRETE
from pipeline.protocols import Filter
from pipeline.serving.bundle import FRAMES, HISTORY, BundleFacts
from pipeline.world_models.checkpoint import name_of
from pipeline.world_models.protocols import TrainableWorldModel


def bundle_facts(
    policy: str,
    config: Any,
    dataset: PreparedDataset,
    facts: Facts,
    seed: int,
    privileged: list[str],
    **more: Any,
) -> BundleFacts:
    """The facts of a bundle learned from ``dataset``; ``more`` is what :func:`filter_facts` says, and ``penalty`` of
    what imagines."""
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
        dataset={k: getattr(spec, k) for k in TOLD},
        seed=seed,
        privileged_knowledge=privileged,
        action_kind=spec.action_kind,
        action_start=spec.action_start,
        **more,
    )


def filter_facts(filter: Filter) -> dict[str, Any]:
    """What a bundle says of its filter: of the standard one, nothing."""
    if isinstance(filter, StandardEncoder):
        return {}
    if isinstance(filter, StackedFrames):
        return {"filter": FRAMES, "filter_config": dataclasses.asdict(filter.config)}
    if isinstance(filter, HistoryEncoder):
        return {"filter": HISTORY, "filter_config": dataclasses.asdict(filter.config)}
    model = cast(TrainableWorldModel, filter)
    return {"filter": name_of(model), "filter_config": dataclasses.asdict(model.config)}


def weights_digest(folder: Path) -> str:
    """What tells a bundle's policy from all others, in files and in MLflow."""
    return str(json.loads((folder / "bundle.json").read_text())["weights_sha256"])


TOLD = ("name", "digest", "licence", "transitions", "episodes", "source", "obs_names")  # of the dataset, by a bundle
SCORES_ELSEWHERE = "In `reports/model_card.md` and `reports/metrics/evaluate.json` of the run that made this bundle."


def model_card(facts: BundleFacts, scores: str = SCORES_ELSEWHERE) -> str:
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
| licence of the data | {data["licence"] or "not stated"} |
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


def _observations(facts: BundleFacts) -> str:
    """Every key with its shape, and of vectors the names of their entries in order."""
    names = facts.dataset.get("obs_names", {})
    told = [(f"{key}: {' x '.join(map(str, shape))}", names.get(key, [])) for key, shape in facts.obs_shapes.items()]
    return "; ".join(f"{key} ({', '.join(entries)})" if entries else key for key, entries in told)


def _actions(facts: BundleFacts) -> str:
    count = len(facts.action_low)
    if facts.action_kind == DISCRETE:
        return f"one of {count}, numbered from {facts.action_start} on"
    return f"{count}, from {facts.action_low} to {facts.action_high}"
