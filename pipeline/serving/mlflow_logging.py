"""A policy as an MLflow model in a folder."""

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.serving.input_example import Array, ServedInput


SERVED_POLICY = Path(__file__).with_name("mlflow_model.py")
PACKAGE = Path(__file__).parents[1]
SERVING_PACKAGES = ("torch", "numpy", "einops", "pydantic", "safetensors")  # all that a policy imports


def save_policy_model(bundle: Path, folder: Path, example: "ServedInput", action: "Array") -> None:
    """Write the bundle as an MLflow model with this package's code, so that ``mlflow models predict`` needs no
    checkout. ``example`` and the policy's ``action`` "B A" for it become the input example and the signature."""
    import mlflow
    from mlflow.models import infer_signature

    mlflow.pyfunc.save_model(
        folder,
        python_model=str(SERVED_POLICY),
        artifacts={"bundle": str(bundle)},
        code_paths=[str(PACKAGE)],
        signature=infer_signature(example, action),
        input_example=example,
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in SERVING_PACKAGES],
    )


def save_model(bundle: Path, folder: Path) -> None:
    """Write the bundle as an MLflow model to a new ``folder``, for an image that has this package."""
    import mlflow

    mlflow.pyfunc.save_model(
        folder, python_model=str(SERVED_POLICY), artifacts={"bundle": str(bundle)}, pip_requirements=[]
    )
