"""``fit.start_from`` and ``policy.start_from`` are checked before any work: what they name is there, below the folder
that DVC watches, and fits the options of params.yaml and the logs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.dataset import DatasetSpec
from pipeline.data.spec import read_spec
from pipeline.training.config import FitConfig
from pipeline.training.warm_start import FIT, check_layout, seed_folder, stored_model
from pipeline.world_models.checkpoint import MODEL_FILE

STAGES = ("ingest", "fit_world_model", "learn_policy")  # those that a start which does not fit would cost time
WORLD_MODELS = Path("data/start/world_model")  # what dvc.yaml lists
SPEC = Path("data/dataset/spec.json")


def check_starts(configs: Mapping[str, Any], seeds: Sequence[int], stage: str) -> None:
    """Raises ValueError of one line if a training of ``configs``, as :func:`pipeline.stages.preflight.check` builds
    them, cannot start where it should. Before ``ingest`` the logs are not known, and not compared."""
    if stage not in STAGES:
        return
    logs = read_spec(SPEC) if stage != "ingest" and SPEC.is_file() else None
    fit: FitConfig = configs["fit"]
    if fit.start_from is not None:
        check_watched(fit.start_from, WORLD_MODELS, FIT)
        for folder in dict.fromkeys(seed_folder(fit.start_from, seed, MODEL_FILE, FIT) for seed in seeds):
            _check_model(folder, configs, logs)


def check_watched(start_from: str, watched: Path, option: str) -> None:
    """Raises ValueError unless ``start_from`` lies below ``watched``: DVC runs a stage again where a file that it
    lists has changed, and deletes what a stage writes before it runs."""
    if not Path(start_from).resolve().is_relative_to(watched.resolve()):
        raise ValueError(
            f"params.yaml: `{option}: {start_from}` is not below {watched}, which DVC watches: copy it there, such as "
            f"`cp -r data/{watched.name} {watched.parent}/`, and set `{option}: {watched}`"
        )


def _check_model(folder: Path, configs: Mapping[str, Any], logs: DatasetSpec | None) -> None:
    model_class, config = configs["world_model"]
    model = stored_model(model_class, config, folder)
    if logs is not None:
        check_layout(model.data_spec.obs_shapes, model.data_spec.layout, logs, f"{folder}", FIT)
