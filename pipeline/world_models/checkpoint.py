"""World models on disk: weights as safetensors, everything else as JSON. Loading unpickles nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from pipeline.encoders.statistics import DataSpec
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

SCHEMA_VERSION = 2  # 2: `data_spec` was `facts`


def save_world_model(folder: Path, model: TrainableWorldModel, history: dict[str, Any]) -> None:
    """Write ``model.json``, ``weights.safetensors`` and ``history.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "schema_version": SCHEMA_VERSION,
        "name": name_of(model),
        "config": dataclasses.asdict(model.config),
        "data_spec": dataclasses.asdict(model.data_spec),
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    (folder / "history.json").write_text(json.dumps(history, indent=2) + "\n")
    save_file({k: v.contiguous().cpu() for k, v in model.state_dict().items()}, folder / "weights.safetensors")


def load_world_model(folder: Path) -> TrainableWorldModel:
    """The model in ``folder``, in evaluation mode, on the CPU and without gradients. Raises ValueError when it is
    missing or has another schema version."""
    if not (folder / "model.json").exists():
        raise ValueError(f"{folder}: no world model; run `dvc repro`")
    description = json.loads((folder / "model.json").read_text())
    version = description["schema_version"]
    if version < SCHEMA_VERSION:
        raise ValueError(
            f"{folder}/model.json: schema_version {version} is older than {SCHEMA_VERSION}: "
            "`data_spec` was `facts`; fit the model again with `dvc repro`"
        )
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"{folder}/model.json: schema_version {version} is newer than this project's {SCHEMA_VERSION}; "
            "update the project"
        )
    model_class = WORLD_MODELS[description["name"]]
    model = model_class(model_class.Config(**description["config"]), DataSpec.from_json(description["data_spec"]))
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval().requires_grad_(False)


def name_of(model: TrainableWorldModel) -> str:
    """The key of a model's class in ``WORLD_MODELS``."""
    return next(name for name, model_class in WORLD_MODELS.items() if type(model) is model_class)
