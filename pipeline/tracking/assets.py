"""Datasets as inputs of the active MLflow run."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Run


def log_dataset(name: str, digest: str, folder: Path) -> None:
    """Log the arrays in ``folder`` as a training input of the run; they stay memory-mapped."""
    import mlflow
    import numpy as np
    from mlflow.data.numpy_dataset import from_numpy

    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow has two classes of this name for a local folder
        dataset = from_numpy(arrays, source=str(folder), name=name, digest=digest[:36])
    mlflow.log_input(dataset, context="training")


def logged_datasets(run: "Run") -> "list[Dataset]":
    """The datasets that are inputs of ``run``."""
    return [] if run.inputs is None else [entry.dataset for entry in run.inputs.dataset_inputs]
