"""Rows of batches, against the indexing of torch."""

import pytest
import torch
from torch import Tensor

from pipeline.types import Transitions, of_members


def batch() -> Transitions:
    rows = 6
    state, reward = torch.randn(rows, 2), torch.randn(rows)
    return Transitions.from_log(state, torch.randn(rows, 1), reward, state + 1, reward, torch.arange(rows))


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor([4, 0, 4]),
        torch.tensor([[1, 2], [5, 0]]),
        torch.zeros(0, dtype=torch.long),
        torch.arange(6) % 2 == 0,
        slice(1, 3),
    ],
    ids=["rows", "table of rows", "none", "mask", "slice"],
)
def test_rows(index: Tensor | slice):
    steps = batch()
    torch.testing.assert_close(vars(steps[index]), vars(steps.map(lambda x: x[index])), rtol=0, atol=0)


def test_of_members():
    values, member = torch.randn(3, 4, 2, requires_grad=True), torch.tensor([2, 0, 0, 1])
    expected = values[member, torch.arange(4)]
    torch.testing.assert_close(of_members(values, member), expected, rtol=0, atol=0)
    weight = torch.arange(8.0).view(4, 2)
    gradients = (torch.autograd.grad(x, values, weight) for x in (of_members(values, member), expected))
    torch.testing.assert_close(*gradients)
