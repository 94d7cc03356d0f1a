"""Datasets as inputs of MLflow runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, Run


def log_dataset(client: "MlflowClient", runs: Sequence[str], name: str, digest: str, folder: Path) -> None:
    """Log the arrays in ``folder`` as a training input of ``runs``; they stay memory-mapped."""
    import numpy as np
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.numpy_dataset import from_numpy
    from mlflow.entities import Dataset, DatasetInput, InputTag

    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    # A path alone fits two of MLflow's kinds of sources, and MLflow warns about that.
    source = get_dataset_source_from_json(json.dumps({"uri": str(folder)}), "local")
    dataset = from_numpy(arrays, source=source, name=name, digest=digest[:36])
    used = DatasetInput(Dataset(**dataset.to_dict()), [InputTag("mlflow.data.context", "training")])
    for run in runs:
        client.log_inputs(run, [used])


def logged_datasets(run: "Run") -> "list[Dataset]":
    """The datasets that are inputs of ``run``."""
    return [] if run.inputs is None else [entry.dataset for entry in run.inputs.dataset_inputs]
