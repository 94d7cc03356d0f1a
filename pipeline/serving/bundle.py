"""The policy bundle: a folder with all that a policy needs to act. Weights are safetensors, the rest is JSON and a
model card. :mod:`pipeline.serving.load_bundle` reads it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

import numpy as np
from pydantic import Field, model_validator, with_config
from torch import nn

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders import ENCODERS, Encoder
from pipeline.encoders.statistics import DataSpec, Statistics, check_features
from pipeline.envs.action_space import KINDS
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.start import Lineage
from pipeline.protocols import StateEncoder
from pipeline.types import TorchModule
from pipeline.validation import RECORD, OneOf, from_json
from pipeline.validation.stored import FLOAT32, VERSION, FileName, Shape, Single, read_object, write_json
from pipeline.validation.weights import write_weights
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
SCHEMA_VERSION = 2  # 1 called `encoder`, `encoder_config`, `neighbors`: `filter`, `filter_config`, `neighbours`
STATE_ENCODERS: Mapping[str, type[Encoder | TrainableWorldModel]] = {**ENCODERS, **WORLD_MODELS}
ENCODER_PREFIX = "state_encoder."  # of the names of the encoder's weights
AGAIN = "copy the bundle again, or learn the policy again with `dvc repro`"
DATASET_KEYS = ("name", "digest", "license", "transitions", "episodes", "source", "obs_names", "action_names", "units")


@with_config(RECORD)
@dataclass(frozen=True)
class BundleSpec:
    """The content of ``bundle.json``. ``action_low`` and ``action_high`` are in the environment's units; for discrete
    actions see :class:`pipeline.envs.action_space.ActionSpec`."""

    policy: str
    config: dict[str, Any]
    obs_shapes: Annotated[dict[FileName, Shape], Field(min_length=1)]
    statistics: Statistics
    action_low: Annotated[list[Single], Field(min_length=1)]
    action_high: list[Single]
    env_id: str | None
    env_kwargs: dict[str, Any]
    dataset: dict[str, Any]  # DATASET_KEYS
    seed: int
    privileged_knowledge: list[str]
    penalty: dict[str, Any] = field(default_factory=dict)  # name and weight; empty for pure imitation
    encoder: Annotated[str, OneOf(STATE_ENCODERS)] = "standard"
    encoder_config: dict[str, Any] = field(default_factory=dict)
    action_kind: Annotated[str, OneOf(KINDS)] = "continuous"
    action_start: int = 0
    start: Lineage | None = None  # None: learned from scratch

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_features(self.obs_shapes, self.statistics)
        low, high = (np.array(bounds, np.float32) for bounds in (self.action_low, self.action_high))
        if low.shape != high.shape or not ((low < high) & (high / 2 - low / 2 <= FLOAT32 / 2)).all():
            raise ValueError("action bounds are not valid")
        return self


def save_bundle(
    folder: Path, learner: TorchModule, encoder: StateEncoder, spec: BundleSpec, history: dict[str, Any], card: str
) -> None:
    """Write ``bundle.json``, ``weights.safetensors``, ``history.json`` and the model card ``README.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    assert isinstance(encoder, nn.Module)
    tensors = learner.state_dict() | {f"{ENCODER_PREFIX}{k}": v for k, v in encoder.state_dict().items()}
    digest = write_weights(tensors, folder / "weights.safetensors")
    described = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(spec), "weights_sha256": digest}
    write_json(history, folder / "history.json", allow_nan=True)
    write_json(described, folder / "bundle.json")
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
    :func:`encoder_spec`, ``penalty`` for a policy that was learned in imagination, and ``start`` for one that
    continued."""
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
        start=learned.start,
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
    config = options(STATE_ENCODERS[spec.encoder].Config, spec.encoder_config, "encoder_config")
    if spec.encoder in WORLD_MODELS:
        return WORLD_MODELS[spec.encoder](config, data)
    return ENCODERS[spec.encoder].from_data(config, data)


def options(kind: type[T], content: Mapping[str, Any], key: str) -> T:
    """``content``, which the bundle has under ``key``, as the options ``kind``. Raises ValueError that names it."""
    try:
        return from_json(kind, content)
    except ValueError as error:
        raise ValueError(f"`{key}`: {error}") from None


def read_description(folder: Path) -> tuple[dict[str, Any], str]:
    """The content of ``bundle.json``, without its version, and the SHA-256 of the weights. Raises ValueError if the
    file is missing or damaged, or of another version."""
    file = folder / "bundle.json"
    if not file.is_file():
        raise ValueError(f"{file}: not found; a bundle is a folder such as data/policy/seed-0")
    content = read_object(file, SCHEMA_VERSION, AGAIN, ": `encoder` was `filter`, and options had other names")
    digest = content.pop("weights_sha256", None)
    if not isinstance(digest, str):
        raise ValueError(f"{file}: `weights_sha256` is missing; {AGAIN}")
    return {key: value for key, value in content.items() if key != VERSION}, digest


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights in a bundle, which identifies the policy in files and in MLflow."""
    return read_description(folder)[1]
