"""World models on disk: weights as safetensors, everything else as JSON. Loading unpickles nothing."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import with_config
from safetensors.torch import load_file, save_file

from pipeline.encoders.statistics import DataSpec
from pipeline.validation import RECORD, OneOf, from_json
from pipeline.validation.records import save_record
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

SCHEMA_VERSION = 2  # 2: `data_spec` was `facts`


@with_config(RECORD)
@dataclass(frozen=True)
class ModelFile:
    """What ``model.json`` holds."""

    schema_version: int
    name: Annotated[str, OneOf(WORLD_MODELS)]
    config: dict[str, Any]
    data_spec: DataSpec


def save_world_model(folder: Path, model: TrainableWorldModel, history: dict[str, Any]) -> None:
    """Write ``model.json``, ``weights.safetensors`` and ``history.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    record = ModelFile(SCHEMA_VERSION, name_of(model), dataclasses.asdict(model.config), model.data_spec)
    save_record(record, folder / "model.json", allow_nan=True)
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n")
    save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items()}, folder / "weights.safetensors")


def load_world_model(folder: Path) -> TrainableWorldModel:
    """The model in ``folder``, in evaluation mode, on the CPU and without gradients. Raises ValueError when it is
    missing or damaged, or has another schema version."""
    file = folder / "model.json"
    if not file.exists():
        raise ValueError(f"{folder}: no world model; run `dvc repro`")
    try:
        description = json.loads(file.read_text())
        version = description["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{file}: damaged; fit the model again with `dvc repro`") from None
    if version < SCHEMA_VERSION:
        raise ValueError(
            f"{file}: schema_version {version} is older than {SCHEMA_VERSION}: `data_spec` was `facts`; fit the model "
            "again with `dvc repro`"
        )
    if version > SCHEMA_VERSION:
        raise ValueError(f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update the project")
    try:
        record = from_json(ModelFile, description)
        config = from_json(WORLD_MODELS[record.name].Config, record.config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; fit the model again with `dvc repro`") from None
    model = WORLD_MODELS[record.name](config, record.data_spec)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval().requires_grad_(False)


def name_of(model: TrainableWorldModel) -> str:
    """The key of a model's class in ``WORLD_MODELS``."""
    return next(name for name, model_class in WORLD_MODELS.items() if type(model) is model_class)
