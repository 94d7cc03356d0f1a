"""The policy bundle: a folder that acts on its own. Weights are safetensors, the rest is JSON and a model card; reading
it is :mod:`pipeline.serving.load_bundle`'s part."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from pipeline.protocols import Filter

SCHEMA_VERSION = 1
STANDARD = "standard"  # the filter that keeps no state: its scales are in the statistics
FRAMES = "frames"  # the filter that stacks the last images
HISTORY = "history"  # the filter that carries the last steps
FILTER_PREFIX = "filter."  # of the names of its weights


@dataclass(frozen=True)
class BundleFacts:
    """What a bundle says of itself. ``action_low`` and ``action_high`` are the environment's own units; for discrete
    actions see :class:`pipeline.envs.action_space.ActionFacts`."""

    policy: str
    config: dict[str, Any]
    obs_shapes: dict[str, list[int]]
    statistics: dict[str, Any]
    action_low: list[float]
    action_high: list[float]
    env_id: str | None
    env_kwargs: dict[str, Any]
    dataset: dict[str, Any]  # name, digest, licence, transitions, episodes, source, obs_names
    seed: int
    privileged_knowledge: list[str]
    penalty: dict[str, Any] = field(default_factory=dict)  # name and weight; none for a policy that only imitates
    filter: str = STANDARD  # or frames, history, or the world model that filters
    filter_config: dict[str, Any] = field(default_factory=dict)
    action_kind: str = "continuous"
    action_start: int = 0


def save_bundle(
    folder: Path, learner: nn.Module, filter: Filter, facts: BundleFacts, history: dict[str, Any], card: str
) -> None:
    """Write ``bundle.json``, ``weights.safetensors``, ``history.json`` and the model card ``README.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(filter, nn.Module)
    tensors = learner.state_dict() | {f"{FILTER_PREFIX}{k}": v for k, v in filter.state_dict().items()}
    weights = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    described = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(facts)}
    described["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n")
    (folder / "README.md").write_text(card)
