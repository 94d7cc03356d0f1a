"""A policy as an MLflow model of the active run."""

import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


SERVED_POLICY = Path(__file__).with_name("mlflow_model.py")
PACKAGE = Path(__file__).parents[1]
SERVING_PACKAGES = ("torch", "lightning", "numpy", "einops", "omegaconf", "safetensors")


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
