"""Reads a policy bundle. Nothing in it is executed or unpickled; a damaged or malicious bundle is refused."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from pipeline.encoders import Encoder, StackedFrames
from pipeline.imagination import Imagination
from pipeline.params import build
from pipeline.policies import LEARNERS
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.policies.protocols import Policy
from pipeline.protocols import StateEncoder, WorldModel, first_state
from pipeline.serving.bundle import ENCODER_PREFIX, SCHEMA_VERSION, BundleSpec, build_encoder
from pipeline.uncertainty import Penalty, PenaltyConfig
from pipeline.validation import from_json
from pipeline.world_models.protocols import TrainableWorldModel

LARGEST_JSON = 16 * 2**20  # bytes


def load_bundle(folder: Path | str) -> tuple[Policy, Encoder | TrainableWorldModel, BundleSpec]:
    """The policy, its encoder and the description. Raises ValueError with the reason if the bundle is refused."""
    folder = Path(folder)
    described = _read_json(folder / "bundle.json")
    digest = described.pop("weights_sha256", None)
    spec = _facts(folder, described)
    weights = _read_weights(folder / "weights.safetensors", digest)
    try:
        encoder = build_encoder(spec)
        encoder.load_state_dict(
            {k.removeprefix(ENCODER_PREFIX): weights.pop(k) for k in list(weights) if k.startswith(ENCODER_PREFIX)}
        )
        chosen = LEARNERS[spec.policy]
        own: dict[str, Any] = {"images": encoder.images} if isinstance(encoder, StackedFrames) else {}
        own |= {"imagination": _imagination(encoder, spec)} if chosen.plans else {}
        weight = spec.penalty.get("weight", 0.0)
        sizes = (encoder.state_dim, len(spec.action_low))
        task = LearnerSpec.of(*sizes, spec.statistics, penalty_weight=weight, action_kind=spec.action_kind)
        learner = chosen(build(chosen.Config, spec.config, "config"), task, **own)
        learner.load_state_dict(weights)
        _check_encoder(encoder, spec)
    except Exception as error:  # mismatched parts can raise anything
        first = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder}: refused: its parts do not fit together: {first}") from None
    return learner.eval().requires_grad_(False), encoder.eval().requires_grad_(False), spec


@torch.no_grad()
def _check_encoder(encoder: StateEncoder, spec: BundleSpec) -> None:
    """Encode one observation, so that a bad bundle fails when it is loaded and not when it acts."""
    obs = {k: torch.zeros(1, *s, dtype=torch.uint8 if len(s) == 3 else None) for k, s in spec.obs_shapes.items()}
    state = first_state(encoder, obs, len(spec.action_low))
    if not torch.isfinite(state).all():
        raise ValueError("an observation of zeros becomes a state that is not finite")


def _imagination(model: StateEncoder, spec: BundleSpec) -> Imagination:
    """The imagination that a planner searches in. Its encoder is the whole world model."""
    if not isinstance(model, WorldModel) or not spec.penalty:
        raise ValueError("a planner needs a world model as its encoder, and a penalty")
    state, action = model.initial(1), torch.zeros(1, model.action_dim)
    model.draw(state, action, model.predict(state, action), None, None)  # IndexError for elites that do not exist
    penalty = build(PenaltyConfig, spec.penalty, "penalty")
    return Imagination(model, Penalty(penalty.name))


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
    if version < SCHEMA_VERSION:
        raise ValueError(
            f"{file}: schema_version {version} is older than {SCHEMA_VERSION}: `encoder` was `filter`, and options had "
            "other names; learn the policy again with `dvc repro`"
        )
    if version > SCHEMA_VERSION:
        raise ValueError(f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update the project")
    return {k: v for k, v in described.items() if k != "schema_version"}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _facts(folder: Path, described: dict[str, Any]) -> BundleSpec:
    """The record of the bundle, checked field by field, and whether fields fit each other."""
    try:
        facts = from_json(BundleSpec, described)
        features = sum(math.prod(shape) for shape in facts.obs_shapes.values() if len(shape) < 3)
        if features != len(facts.statistics.obs_mean):
            count = len(facts.statistics.obs_mean)
            raise ValueError(f"`obs_shapes` hold {features} features, `statistics.obs_mean` {count}")
        low, high = torch.tensor(facts.action_low), torch.tensor(facts.action_high)
        if low.shape != high.shape or not bool((low < high).all()) or not bool(torch.isfinite(high - low).all()):
            raise ValueError("action bounds are not valid")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder}/bundle.json: refused: {' '.join(str(error).split())[:300]}") from None
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
        if not torch.isfinite(tensor.float()).all():
            raise ValueError(f"{file}: refused: weight `{name}` holds values that are not finite")
    return weights
