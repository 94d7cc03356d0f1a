"""Datasets and policies as MLflow knows them. Both go to the active run."""

import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SERVED_POLICY = Path(__file__).parents[1] / "serving/mlflow_model.py"
PACKAGE = Path(__file__).parents[1]
SERVING_PACKAGES = ("torch", "lightning", "numpy", "einops", "omegaconf", "safetensors")


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


def log_policy(bundle: Path, seen: Any, action: "np.ndarray") -> None:
    """The bundle with this package's code, so that ``mlflow models predict`` needs no checkout. ``seen`` and the
    ``action`` "B A" it leads to are the example and the signature."""
    import mlflow
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow asks for type hints in its own dialect; the signature says the same
        mlflow.pyfunc.log_model(
            name="policy",
            python_model=str(SERVED_POLICY),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(PACKAGE)],
            signature=infer_signature(seen, action),
            input_example=seen,
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in SERVING_PACKAGES],
        )
