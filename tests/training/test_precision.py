"""Reduced precision is chosen where it is faster, and the same by every rank."""

import os
from collections.abc import Iterator

import pytest
import torch

from pipeline.training import precision
from pipeline.training.config import TrainerConfig
from pipeline.training.trainer import set_up_torch


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(precision.CHOSEN, raising=False)
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)
    os.environ.pop(precision.CHOSEN, None)


class Clock:
    """Time passes by what a product costs at the precision that is set."""

    def __init__(self, cost: dict[str, float]) -> None:
        self.cost, self.now = cost, 0.0

    def __call__(self) -> float:
        self.now += self.cost[torch.get_float32_matmul_precision()] / 2
        return self.now


@pytest.mark.parametrize(("medium", "chosen"), [(0.5, "medium"), (0.9, "highest"), (2.0, "highest")])
def test_reduced_products_must_be_faster(medium, chosen, monkeypatch, capsys):
    monkeypatch.setattr(precision.time, "perf_counter", Clock({"highest": 1.0, "medium": medium}))
    set_up_torch(TrainerConfig(matmul_precision="auto"))
    assert torch.get_float32_matmul_precision() == chosen
    assert f"auto: {chosen}; reduced products are {1 / medium:.1f} times" in capsys.readouterr().out


def test_ranks_take_the_choice_of_the_process_that_starts_them(monkeypatch):
    monkeypatch.setenv(precision.CHOSEN, "medium")
    assert precision.resolve_precision("auto", "cpu") == "medium"


@pytest.mark.parametrize("name", ["highest", "high", "medium"])
def test_a_stated_precision_is_not_measured(name):
    assert precision.resolve_precision(name, "cpu") == name
    assert precision.CHOSEN not in os.environ


@pytest.mark.parametrize(("accelerator", "device"), [("cpu", "cpu"), ("gpu", "cuda"), ("auto", "cuda"), ("mps", "cpu")])
def test_products_are_measured_on_the_device_that_trains(accelerator, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(precision, "_measured", lambda where: f"on {where}")
    assert precision.resolve_precision("auto", accelerator) == f"on {device}"
