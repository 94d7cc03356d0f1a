"""The policy bundle: a folder with all that a policy needs to act. Weights are safetensors, the rest is JSON and a
model card. :mod:`pipeline.serving.load_bundle` reads it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, with_config
from safetensors.torch import save
from torch import nn

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders import ENCODERS, Encoder
from pipeline.encoders.statistics import DataSpec, Statistics
from pipeline.envs.action_space import KINDS
from pipeline.params import build
from pipeline.policies.learned import LearnedPolicy
from pipeline.protocols import StateEncoder
from pipeline.types import TorchModule
from pipeline.validation import RECORD, OneOf, PositiveInt
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA_VERSION = 2  # 1 called `encoder`, `encoder_config`, `neighbors`: `filter`, `filter_config`, `neighbours`
STATE_ENCODERS: Mapping[str, type[Encoder | TrainableWorldModel]] = {**ENCODERS, **WORLD_MODELS}
ENCODER_PREFIX = "state_encoder."  # of the names of the encoder's weights
DATASET_KEYS = ("name", "digest", "license", "transitions", "episodes", "source", "obs_names", "action_names", "units")

Shape = Annotated[list[PositiveInt], Field(min_length=1)]  # of one observation


@with_config(RECORD)
@dataclass(frozen=True)
class BundleSpec:
    """The content of ``bundle.json``. ``action_low`` and ``action_high`` are in the environment's units; for discrete
    actions see :class:`pipeline.envs.action_space.ActionSpec`."""

    policy: str
    config: dict[str, Any]
    obs_shapes: Annotated[dict[str, Shape], Field(min_length=1)]
    statistics: Statistics
    action_low: list[float]
    action_high: list[float]
    env_id: str | None
    env_kwargs: dict[str, Any]
    dataset: dict[str, Any]  # DATASET_KEYS
    seed: int
    privileged_knowledge: list[str]
    penalty: dict[str, Any] = field(default_factory=dict)  # name and weight; empty for pure imitation
    encoder: str = "standard"  # one of STATE_ENCODERS
    encoder_config: dict[str, Any] = field(default_factory=dict)
    action_kind: Annotated[str, OneOf(KINDS)] = "continuous"
    action_start: int = 0


def save_bundle(
    folder: Path, learner: TorchModule, encoder: StateEncoder, spec: BundleSpec, history: dict[str, Any], card: str
) -> None:
    """Write ``bundle.json``, ``weights.safetensors``, ``history.json`` and the model card ``README.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(encoder, nn.Module)
    tensors = learner.state_dict() | {f"{ENCODER_PREFIX}{k}": v for k, v in encoder.state_dict().items()}
    weights = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    described = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(spec)}
    described["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n")
    (folder / "README.md").write_text(card)


def bundle_spec(
    policy: str,
    config: "DataclassInstance",
    dataset: PreparedDataset,
    data: DataSpec,
    seed: int,
    privileged: list[str],
    **more: Any,
) -> BundleSpec:
    """The description of a policy that was learned from ``dataset``. ``more`` holds the fields of
    :func:`encoder_spec`, and ``penalty`` for a policy that was learned in imagination."""
    spec = dataset.spec
    return BundleSpec(
        policy=policy,
        config=dataclasses.asdict(config),
        obs_shapes=data.obs_shapes,
        statistics=data.statistics,
        action_low=spec.action_low,
        action_high=spec.action_high,
        env_id=spec.env_id,
        env_kwargs=spec.env_kwargs,
        dataset={k: getattr(spec, k) for k in DATASET_KEYS},
        seed=seed,
        privileged_knowledge=privileged,
        action_kind=spec.action_kind,
        action_start=spec.action_start,
        **more,
    )


def learned_spec(learned: LearnedPolicy, dataset: PreparedDataset) -> BundleSpec:
    """The bundle's description of a policy that was learned from ``dataset``."""
    return bundle_spec(
        learned.name,
        learned.config,
        dataset,
        learned.data_spec,
        learned.seed,
        learned.privileged_knowledge,
        **encoder_spec(learned.encoder),
        penalty=learned.penalty,
    )


def encoder_spec(encoder: StateEncoder) -> dict[str, Any]:
    """The fields of a bundle that name its encoder."""
    known = cast(Encoder | TrainableWorldModel, encoder)
    name = next(name for name, kind in STATE_ENCODERS.items() if type(encoder) is kind)
    return {"encoder": name, "encoder_config": dataclasses.asdict(known.config)}


def build_encoder(spec: BundleSpec) -> Encoder | TrainableWorldModel:
    """The encoder that a bundle names, without its weights."""
    transitions = spec.dataset.get("transitions", 0)
    data = DataSpec(spec.statistics, spec.obs_shapes, len(spec.action_low), transitions, spec.env_id)
    config = build(STATE_ENCODERS[spec.encoder].Config, spec.encoder_config, "encoder_config")
    if spec.encoder in WORLD_MODELS:
        return WORLD_MODELS[spec.encoder](config, data)
    return ENCODERS[spec.encoder].from_data(config, data)


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights in a bundle, which identifies the policy in files and in MLflow."""
    return str(json.loads((folder / "bundle.json").read_text())["weights_sha256"])
