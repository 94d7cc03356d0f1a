"""The policy bundle: a folder that acts on its own. Weights are safetensors, the rest is JSON and a model card; nothing
in it is ever executed or unpickled, and a damaged or hostile one is refused."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from pipeline.params import build
from pipeline.policies import POLICIES
from pipeline.standardise import StandardEncoder, Statistics

SCHEMA_VERSION = 1
FILTERS = {"standard": StandardEncoder}
LARGEST_JSON = 16 * 2**20  # bytes


@dataclass(frozen=True)
class BundleFacts:
    """What a bundle says of itself. ``action_low`` and ``action_high`` are the environment's own units."""

    policy: str
    config: dict[str, Any]
    obs_shapes: dict[str, list[int]]
    statistics: dict[str, Any]
    action_low: list[float]
    action_high: list[float]
    env_id: str | None
    env_kwargs: dict[str, Any]
    dataset: dict[str, Any]  # name, digest, licence, transitions, episodes
    seed: int
    privileged_knowledge: list[str]
    filter: str = "standard"


def save_bundle(folder: Path, learner: nn.Module, facts: BundleFacts, history: dict[str, Any], card: str) -> None:
    """Write ``bundle.json``, ``weights.safetensors``, ``history.json`` and the model card ``README.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({k: v.detach().cpu().contiguous() for k, v in learner.state_dict().items()})
    described = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(facts)}
    described["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n")
    (folder / "README.md").write_text(card)


def load_bundle(folder: Path | str) -> tuple[nn.Module, StandardEncoder, BundleFacts]:
    """The learner, its filter and the facts. Raises ValueError that says what is wrong with a bundle it refuses."""
    folder = Path(folder)
    described = _read_json(folder / "bundle.json")
    digest = described.pop("weights_sha256", None)
    facts = _facts(folder, described)
    weights = _read_weights(folder / "weights.safetensors", digest)
    try:
        statistics = Statistics(**facts.statistics)
        encoder = FILTERS[facts.filter](facts.obs_shapes, statistics)
        chosen = POLICIES[facts.policy]
        learner = chosen(build(chosen.Config, facts.config, "config"), encoder.state_dim, len(facts.action_low))
        learner.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        first = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder}: refused: its parts do not fit together: {first}") from None
    return learner.eval().requires_grad_(False), encoder.eval(), facts


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"{file}: not found; a bundle is a folder such as data/policy/seed-0")
    if file.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{file}: refused: larger than {LARGEST_JSON >> 20} MiB")
    try:
        described = json.loads(file.read_text(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: refused: not valid JSON: {' '.join(str(error).split())[:200]}") from None
    version = described.get("schema_version") if isinstance(described, dict) else None
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{file}: refused: no schema_version, so this is not a policy bundle")
    if version > SCHEMA_VERSION:
        raise ValueError(f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update the project")
    return {k: v for k, v in described.items() if k != "schema_version"}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _facts(folder: Path, described: dict[str, Any]) -> BundleFacts:
    try:
        facts = BundleFacts(**described)
        low, high = torch.tensor(facts.action_low).float(), torch.tensor(facts.action_high).float()
        consistent = low.shape == high.shape and low.dim() == 1 and bool((low < high).all())
        consistent &= bool(torch.tensor(facts.statistics["obs_std"]).gt(0).all())
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{folder}/bundle.json: refused: {' '.join(str(error).split())[:300]}") from None
    if not consistent:
        raise ValueError(f"{folder}/bundle.json: refused: action bounds or observation scales are not valid")
    return facts


def _read_weights(file: Path, digest: Any) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise ValueError(f"{file}: not found; the bundle is incomplete")
    raw = file.read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ValueError(f"{file}: refused: its SHA-256 is not the one in bundle.json; copy the bundle again")
    try:
        weights = load(raw)
    except SafetensorError as error:
        raise ValueError(f"{file}: refused: not a safetensors file: {error}") from None
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{file}: refused: weight `{name}` holds values that are not finite")
    return weights
