"""World models on disk: weights as safetensors, everything else as JSON. Loading unpickles nothing."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import with_config

from pipeline.encoders.statistics import DataSpec
from pipeline.protocols import first_state
from pipeline.validation import RECORD, OneOf, from_json, one_line
from pipeline.validation.records import save_record
from pipeline.validation.stored import read_object, record_of, write_json
from pipeline.validation.weights import load_weights, read_weights, write_weights
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

SCHEMA_VERSION = 2  # 2: `data_spec` was `facts`
AGAIN = "run `dvc repro fit_world_model`"
MODEL_FILE = "model.json"


@with_config(RECORD)
@dataclass(frozen=True)
class ModelFile:
    """What ``model.json`` holds."""

    schema_version: int
    name: Annotated[str, OneOf(WORLD_MODELS)]
    config: dict[str, Any]
    data_spec: DataSpec
    weights_sha256: str | None = None  # of weights.safetensors; not in the files of earlier versions


def save_world_model(folder: Path, model: TrainableWorldModel, history: dict[str, Any]) -> None:
    """Write ``model.json``, ``weights.safetensors`` and ``history.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = write_weights(model.state_dict(), folder / "weights.safetensors")
    record = ModelFile(SCHEMA_VERSION, name_of(model), dataclasses.asdict(model.config), model.data_spec, digest)
    write_json(history, folder / "history.json", allow_nan=True)
    save_record(record, folder / MODEL_FILE, seal=True)


def load_world_model(folder: Path) -> TrainableWorldModel:
    """The model in ``folder``, in evaluation mode, on the CPU and without gradients. Raises ValueError when it is
    missing or damaged, or has another schema version."""
    file = folder / MODEL_FILE
    if not file.exists():
        raise ValueError(f"{folder}: no world model; {AGAIN}")
    record = record_of(ModelFile, read_object(file, SCHEMA_VERSION, AGAIN, ": `data_spec` was `facts`"), file, AGAIN)
    weights = read_weights(folder / "weights.safetensors", record.weights_sha256, AGAIN)
    try:
        model = WORLD_MODELS[record.name](from_json(WORLD_MODELS[record.name].Config, record.config), record.data_spec)
        load_weights(model, weights)
        model.eval().requires_grad_(False)
        check_steps(model)
    except Exception as error:  # mismatched parts can raise anything
        reason = f"its parts do not fit together ({one_line(str(error))})"
        raise ValueError(f"{folder}: {reason}; delete it and {AGAIN}") from None
    return model


@torch.no_grad()
def check_steps(model: TrainableWorldModel) -> None:
    """Imagine one step, so that a bad model fails when it is loaded. Raises ValueError if it is not finite, IndexError
    for elites that do not exist."""
    shapes = model.data_spec.obs_shapes
    obs = {k: torch.zeros(1, *s, dtype=torch.uint8 if len(s) == 3 else None) for k, s in shapes.items()}
    state, action = first_state(model, obs, model.action_dim), torch.zeros(1, model.action_dim)
    step = model.draw(state, action, model.predict(state, action), None, None)
    if not torch.cat([state, step.state, step.reward[:, None]], 1).isfinite().all():
        raise ValueError("a step from an observation of zeros is not finite")


def name_of(model: TrainableWorldModel) -> str:
    """The key of a model's class in ``WORLD_MODELS``."""
    return next(name for name, model_class in WORLD_MODELS.items() if type(model) is model_class)
