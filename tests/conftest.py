"""Fixtures for all tests, and the shape alphabet of ``pipeline.types``, which is enforced here."""

import dataclasses
import os
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch

from pipeline import types
from pipeline.types import TensorFields

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real logs of other authors, which the project does not ship."""
    folder = Path(os.environ.get("OFFLINE_RL_DATA", Path(__file__).parents[1] / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("no logs to test against: set OFFLINE_RL_DATA to the folder that holds them")
    return folder


def check_shapes(instance: Any) -> None:
    """Dimensions named alike in the annotations must agree; "B ..." may stand for several leading axes."""
    sizes: dict[str, int] = {}
    for name, hint in get_type_hints(type(instance), include_extras=True).items():
        if not hasattr(hint, "__metadata__"):  # observations have the shapes that the environment gives them
            continue
        tensor, alphabet = getattr(instance, name), hint.__metadata__[0].split()
        shape = tuple(tensor.shape)[-len(alphabet) :]
        assert len(shape) == len(alphabet), f"{type(instance).__name__}.{name}: {tuple(tensor.shape)} is not {alphabet}"
        for letter, size in zip(alphabet, shape, strict=True):
            base, _, more = letter.partition("+")
            expected = sizes.setdefault(base, size - int(more or 0)) + int(more or 0)
            assert size == expected, f"{type(instance).__name__}.{name}: {letter} is {size}, expected {expected}"


@pytest.fixture(autouse=True)
def shapes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor dataclass built during a test is checked against its annotations."""
    for value in vars(types).values():
        if isinstance(value, type) and issubclass(value, TensorFields) and dataclasses.is_dataclass(value):
            monkeypatch.setattr(value, "__post_init__", check_shapes, raising=False)
