"""Datasets as inputs of MLflow runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Run


def dataset_entry(name: str, digest: str, folder: Path) -> dict[str, Any]:
    """The arrays in ``folder`` as MLflow's dict of a dataset; they stay memory-mapped."""
    import numpy as np
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.numpy_dataset import from_numpy

    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    # A path alone fits two of MLflow's kinds of sources, and MLflow warns about that.
    source = get_dataset_source_from_json(json.dumps({"uri": str(folder)}), "local")
    return dict(from_numpy(arrays, source=source, name=name, digest=digest[:36]).to_dict())


def logged_datasets(run: "Run") -> "list[Dataset]":
    """The datasets that are inputs of ``run``."""
    return [] if run.inputs is None else [entry.dataset for entry in run.inputs.dataset_inputs]
