"""Fixtures for all tests. One of them checks the shapes of the dataclasses in ``pipeline.types``."""

import dataclasses
import os
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

from pipeline import types
from pipeline.types import TensorFields

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with logs of other authors, which are not part of the project; skips the test if it is missing."""
    folder = Path(os.environ.get("OFFLINE_RL_DATA", Path(__file__).parents[1] / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("no logs to test against: set OFFLINE_RL_DATA to the folder that holds them")
    return folder


def check_shapes(instance: object) -> None:
    """Fails if dimensions with the same letter have different sizes. More leading axes than annotated are allowed."""
    sizes: dict[str, int] = {}
    for name, hint in get_type_hints(type(instance), include_extras=True).items():
        if not hasattr(hint, "__metadata__"):  # the environment defines the shapes of observations
            continue
        tensor = getattr(instance, name)
        letters = hint.__metadata__[0].split()
        shape = tuple(tensor.shape)[-len(letters) :]
        assert len(shape) == len(letters), f"{type(instance).__name__}.{name}: {tuple(tensor.shape)} is not {letters}"
        for letter, size in zip(letters, shape, strict=True):
            base, _, more = letter.partition("+")
            expected = sizes.setdefault(base, size - int(more or 0)) + int(more or 0)
            assert size == expected, f"{type(instance).__name__}.{name}: {letter} is {size}, expected {expected}"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an MLflow store that the tests of a module share: to make one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def own_experiment(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of one test, with an experiment of its own in the store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    return tmp_path


@pytest.fixture
def bare_project(own_experiment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a params.yaml that holds seeds alone, which the frame of a stage accepts."""
    from pipeline.stages import preflight  # few tests run stages

    monkeypatch.setattr(preflight, "check", lambda *arguments: None)
    (own_experiment / "params.yaml").write_text("seeds: [0]\n")
    return own_experiment


@pytest.fixture
def valves_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let environments run the code of valves.py, as if it were installed and params.yaml named it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.envs.permission._allowed", {"valves"})


@pytest.fixture(autouse=True)
def shapes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the shapes of every tensor dataclass that a test builds."""
    for value in vars(types).values():
        if isinstance(value, type) and issubclass(value, TensorFields) and dataclasses.is_dataclass(value):
            monkeypatch.setattr(value, "__post_init__", check_shapes, raising=False)
