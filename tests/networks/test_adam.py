"""LeanAdam takes the steps of torch.optim.Adam."""

import copy

import pytest
import torch
from torch import nn

from pipeline.networks.adam import LeanAdam


def groups(net: nn.Sequential) -> list[dict]:
    """Weights with decay, biases without, and a parameter that never gets a gradient."""
    return [
        {"params": [net[0].weight, net[1].weight], "weight_decay": 0.1},
        {"params": [net[0].bias, net[1].bias, nn.Parameter(torch.ones(3))], "weight_decay": 0.0},
    ]


def nets() -> list[nn.Sequential]:
    """Two networks with the same weights."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    second = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    second.load_state_dict(first.state_dict())
    return [first, second]


def descend(net: nn.Sequential, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    net(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_the_steps_and_the_state_are_those_of_adam(eps):
    ours, theirs = nets()
    lean = LeanAdam(groups(ours), lr=0.01, eps=eps)
    adam = torch.optim.Adam(groups(theirs), lr=0.01, eps=eps, fused=True)
    for i in range(5):
        for optimizer in (lean, adam):
            optimizer.param_groups[0]["lr"] = 0.01 / (i + 1)  # learning rates change while it runs
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(i))
        descend(ours, lean, x)
        descend(theirs, adam, x)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    mine, other = lean.state_dict(), adam.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    assert all(torch.equal(mine["state"][i][k], v) for i, s in other["state"].items() for k, v in s.items())


def test_it_continues_from_the_state_of_adam():
    ours, theirs = nets()
    lean, adam = LeanAdam(ours.parameters(), lr=0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    x = torch.ones(8, 3)
    descend(theirs, adam, x)
    ours.load_state_dict(theirs.state_dict())
    lean.load_state_dict(copy.deepcopy(adam.state_dict()))  # it keeps the tensors that it is given
    descend(ours, lean, x)
    descend(theirs, adam, x)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_closure_gives_its_loss():
    net = nets()[0]
    lean = LeanAdam(net.parameters(), lr=0.01)
    before = net[0].weight.clone()

    def closure() -> float:
        lean.zero_grad()
        loss = net(torch.ones(8, 3)).square().sum()
        loss.backward()
        return float(loss.detach())

    assert lean.step(closure) > 0
    assert not torch.equal(net[0].weight, before)
