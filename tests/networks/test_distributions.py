"""Heads against numbers worked by hand, and against each other's inverse."""

import math

import pytest
import torch

from pipeline.networks.distributions import HEADS, TwoHot, UnitGaussian, symexp, symlog, zero_last_layer
from pipeline.networks.mlp import mlp

VALUES = [-3e5, -137.25, -1.0, -1e-3, 0.0, 1e-3, 0.3, 7.0, 812.5, 4e6]


def test_symlog_by_hand_and_symexp_is_its_inverse():
    x = torch.tensor([-(math.e - 1), 0.0, math.e**2 - 1])
    torch.testing.assert_close(symlog(x), torch.tensor([-1.0, 0.0, 2.0]))
    many = torch.tensor(VALUES, dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(many)), many)
    assert torch.equal(symlog(-many), -symlog(many))


@pytest.mark.parametrize("function", [symlog, symexp])
def test_gradient_at_zero_is_one(function):
    x = torch.zeros(1, requires_grad=True)
    function(x).sum().backward()
    assert x.grad.item() == 1.0


def test_two_hot_by_hand():
    head = TwoHot(bins=5, limit=2 * math.log(2))  # values -3, -1, 0, 1, 3
    torch.testing.assert_close(head.values, torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]))
    targets = torch.tensor([-2.0, 0.25, 3.0, 50.0, -3.0])
    expected = [[0.5, 0.5, 0, 0, 0], [0, 0, 0.75, 0.25, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    torch.testing.assert_close(head.encode(targets), torch.tensor(expected))
    logits = torch.tensor([[0.0, 0.0, math.log(2), 0.0, 0.0]])  # the third of six equal parts counts twice
    loss = head.loss(logits, torch.tensor([0.25]))
    assert loss.item() == pytest.approx(-(0.75 * math.log(2 / 6) + 0.25 * math.log(1 / 6)))


def test_two_hot_decodes_what_it_encoded():
    head = TwoHot()
    targets = torch.tensor(VALUES)
    codes = head.encode(targets)
    assert codes.shape == (len(VALUES), 255)
    assert ((codes > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(codes.sum(-1), torch.ones(len(VALUES)))
    logits = codes.log().clamp(min=-100)
    torch.testing.assert_close(head.decode(logits), targets, rtol=1e-5, atol=1e-5)


def test_reduced_precision_does_not_round_the_mean():
    head = TwoHot()
    target = torch.tensor([-1234.5, 98.76])
    logits = head.encode(target).clamp(min=1e-30).log()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head.decode(logits), head.decode(logits.float()), atol=0, rtol=0)
        torch.testing.assert_close(head.decode(logits), target, atol=0, rtol=1e-3)


def test_equal_logits_decode_to_exactly_zero():
    head = TwoHot()
    for level in (0.0, 0.7, -13.0):
        assert torch.equal(head.decode(torch.full((4, 3, 255), level)), torch.zeros(4, 3))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_starts_at_zero_and_learns_the_mean_of_noisy_targets(name: str):
    torch.manual_seed(0)
    head = HEADS[name]()
    net = zero_last_layer(mlp([2, 8, head.size]))
    assert torch.equal(head.decode(net(torch.randn(5, 2))), torch.zeros(5))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    targets = torch.tensor([1.0, 99.0]).repeat(50)  # its mean is 50, its mean symlog that of about 13
    for _ in range(800):
        loss = head.loss(net(torch.zeros(100, 2)), targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert head.decode(net(torch.zeros(1, 2))).item() == pytest.approx(50, rel=0.02)


def test_unit_gaussian_is_half_the_squared_error():
    head = UnitGaussian()
    assert head.loss(torch.tensor([[1.0]]), torch.tensor([4.0])).item() == 4.5


def test_no_gradient_reaches_the_target():
    for chosen in HEADS.values():
        head = chosen()
        logits, target = torch.zeros(2, head.size, requires_grad=True), torch.ones(2, requires_grad=True)
        head.loss(logits, target).sum().backward()
        assert logits.grad.abs().sum() > 0
        assert target.grad is None


def test_bad_bins_are_refused():
    for settings in ({"bins": 4}, {"bins": 1}, {"limit": 0.0}):
        with pytest.raises(ValueError, match="must be odd"):
            TwoHot(**settings)
