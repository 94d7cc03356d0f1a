"""Datasets as MLflow knows them. They go to the active run."""

import warnings
from pathlib import Path


def log_dataset(name: str, digest: str, folder: Path) -> None:
    """The arrays in ``folder`` (memory-mapped, so their shapes cost nothing) as an input of the run, in training."""
    import mlflow
    import numpy as np
    from mlflow.data.numpy_dataset import from_numpy

    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.npy"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow finds two classes of the same name for a local folder
        dataset = from_numpy(arrays, source=str(folder), name=name, digest=digest[:36])
    mlflow.log_input(dataset, context="training")
