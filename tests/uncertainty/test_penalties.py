"""Each penalty on a two-member toy, worked by hand."""

import math

import pytest
import torch

from pipeline.types import CategoricalPrediction, Prediction, Transitions
from pipeline.uncertainty import Distance, PenaltyConfig
from pipeline.uncertainty.distance import nearest_rows
from pipeline.uncertainty.penalties import (
    MEASURES,
    disagreement,
    ensemble_std,
    entropy,
    leave_one_out_kl,
    log_prob_std,
    max_aleatoric,
    pairwise_difference,
)

# two members, one row, two dimensions
TOY = Prediction(mean=torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]]]), std=torch.tensor([[[1.0, 2.0]], [[3.0, 0.5]]]),
                 carry=torch.zeros(1, 0))  # fmt: skip
DRAWN = torch.tensor([[1.0, 3.0]])


def test_max_aleatoric():
    # member norms: sqrt((1 + 4) / 2) and sqrt((9 + 0.25) / 2)
    torch.testing.assert_close(max_aleatoric(TOY, DRAWN), torch.tensor([(9.25 / 2) ** 0.5]))


def test_disagreement():
    # variances of the means over members: 1 and 0
    torch.testing.assert_close(disagreement(TOY, DRAWN), torch.tensor([0.5**0.5]))


def test_ensemble_std_is_the_standard_deviation_of_the_mixture():
    # total variances: (1 + 9) / 2 + 1 and (4 + 0.25) / 2 + 0
    torch.testing.assert_close(ensemble_std(TOY, DRAWN), torch.tensor([((6 + 2.125) / 2) ** 0.5]))
    draws = torch.Generator().manual_seed(0)
    member = torch.randint(2, (200_000,), generator=draws)
    sampled = TOY.mean[member, 0] + TOY.std[member, 0] * torch.randn(200_000, 2, generator=draws)
    torch.testing.assert_close(sampled.var(0).mean().sqrt(), ensemble_std(TOY, DRAWN)[0], rtol=0.01, atol=0)


def normal_log(x: float, mean: float, std: float) -> float:
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


def test_log_prob_std():
    first, second = normal_log(1, 0, 1) + normal_log(3, 1, 2), normal_log(1, 2, 3) + normal_log(3, 1, 0.5)
    # over two members the standard deviation is half the difference; for each of two dimensions half of that
    torch.testing.assert_close(log_prob_std(TOY, DRAWN), torch.tensor([abs(first - second) / 4]))


def test_entropy_is_the_geometric_mean_of_the_spreads():
    # entropy of a normal is log(std sqrt(2 pi e)); its mean over members and dimensions is that of the geometric mean
    spread = (1 * 2 * 3 * 0.5) ** 0.25
    torch.testing.assert_close(entropy(TOY, DRAWN), torch.tensor([spread * math.sqrt(2 * math.pi * math.e)]))


def test_categorical_latents_have_probabilities_instead_of_densities():
    probs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    believed = CategoricalPrediction(probs, (probs * (1 - probs)).sqrt(), torch.zeros(1, 0), probs)
    drawn = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(believed.log_prob(drawn), torch.tensor([[0.1], [0.5]]).log())
    torch.testing.assert_close(believed.entropy()[1], torch.tensor([math.log(2)]))
    torch.testing.assert_close(log_prob_std(believed, drawn), torch.tensor([math.log(5) / 4]))


def test_penalties_do_not_grow_with_the_number_of_dimensions():
    wide = Prediction(TOY.mean.repeat(1, 1, 5), TOY.std.repeat(1, 1, 5), TOY.carry)
    for measure in MEASURES.values():
        torch.testing.assert_close(measure.function(wide, DRAWN.repeat(1, 5)), measure.function(TOY, DRAWN))


def test_pairwise_difference():
    # distances of the means: 2 in the first dimension, 0 in the second; a third member lies between the two
    torch.testing.assert_close(pairwise_difference(TOY, DRAWN), torch.tensor([2 / 2**0.5]))
    between = Prediction(torch.cat([TOY.mean, TOY.mean.mean(0, keepdim=True)]), torch.ones(3, 1, 2), TOY.carry)
    torch.testing.assert_close(pairwise_difference(between, DRAWN), torch.tensor([2 / 2**0.5]))


def normal_kl(mean: float, std: float, other_mean: float, other_std: float) -> float:
    normal = torch.distributions.Normal
    return torch.distributions.kl_divergence(normal(mean, std), normal(other_mean, other_std)).item()


def test_leave_one_out_kl_of_two_members_is_each_to_the_other():
    first = normal_kl(0.0, 1.0, 2.0, 3.0) + normal_kl(1.0, 2.0, 1.0, 0.5)
    second = normal_kl(2.0, 3.0, 0.0, 1.0) + normal_kl(1.0, 0.5, 1.0, 2.0)
    # mean over two members and two dimensions
    torch.testing.assert_close(leave_one_out_kl(TOY, DRAWN), torch.tensor([(first + second) / 4]))


def test_leave_one_out_kl_of_three_members_is_to_the_moments_of_the_others():
    means, stds = (0.0, 1.0, 3.0), (1.0, 2.0, 0.5)
    believed = Prediction(torch.tensor(means).reshape(3, 1, 1), torch.tensor(stds).reshape(3, 1, 1), torch.zeros(1, 0))
    expected = []
    for i in range(3):
        j, k = (m for m in range(3) if m != i)
        middle = (means[j] + means[k]) / 2
        # by the law of total variance: two equal shares lie half their distance from their middle
        variance = (stds[j] ** 2 + stds[k] ** 2) / 2 + ((means[j] - means[k]) / 2) ** 2
        expected.append(normal_kl(means[i], stds[i], middle, variance**0.5))
    found = leave_one_out_kl(believed, torch.zeros(1, 1))
    torch.testing.assert_close(found, torch.tensor([sum(expected) / 3]))


def test_measures_that_see_no_noise_are_zero_where_members_agree():
    agreed = TOY.map(lambda x: x[:1].expand(2, *x.shape[1:]) if x.dim() == 3 else x)
    single = TOY.map(lambda x: x[:1] if x.dim() == 3 else x)
    for name, measure in MEASURES.items():
        for believed in (agreed, single):
            zero = measure.function(believed, DRAWN).abs().item() < 1e-6
            assert zero == (measure.kind == "epistemic"), name


def test_measures_that_read_moments_take_those_of_categorical_latents():
    probs = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    believed = CategoricalPrediction(probs, (probs * (1 - probs)).sqrt(), torch.zeros(1, 0), probs)
    drawn = torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(pairwise_difference(believed, drawn), torch.tensor([0.4]))  # 0.4 in both dimensions
    both = normal_kl(0.9, 0.3, 0.5, 0.5) + normal_kl(0.5, 0.5, 0.9, 0.3)
    torch.testing.assert_close(leave_one_out_kl(believed, drawn), torch.tensor([both / 2]))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("noise", [0.0, 1e-8, 1.0])
def test_measures_have_a_finite_gradient_where_members_agree(name: str, members: int, noise: float):
    mean = torch.ones(members, 1, 2, requires_grad=True)
    std = torch.full((members, 1, 2), noise, requires_grad=True)
    drawn = DRAWN.clone().requires_grad_(True)
    found = MEASURES[name].function(Prediction(mean, std, torch.zeros(1, 0)), drawn)
    if found.requires_grad:  # one member has no others to be compared with
        found.sum().backward()
    for leaf in (mean, std, drawn):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_members_that_nearly_agree_are_still_pushed_together():
    mean = torch.tensor([[[1e-18, 0.0]], [[-1e-18, 0.0]]], requires_grad=True)
    disagreement(Prediction(mean, torch.ones(2, 1, 2), torch.zeros(1, 0)), DRAWN).sum().backward()
    # the root mean square of half the distance d in one of two dimensions is d / 2 sqrt(2)
    torch.testing.assert_close(mean.grad[:, 0, 0], torch.tensor([1.0, -1.0]) / 8**0.5)


# --- distance to the logs ---


def logged_at(pairs: list[list[float]]) -> Transitions:
    """Steps with the given state, action pairs of one dimension each."""
    state, action = torch.tensor(pairs).split(1, dim=1)
    nothing = torch.zeros(len(pairs))
    return Transitions.from_log(state, action, nothing, state, nothing)


def test_distance_by_hand():
    # states spread by 4, actions by 1: the corners of a square after normalizing, each side 2 long
    logged = logged_at([[-4.0, -1.0], [-4.0, 1.0], [4.0, -1.0], [4.0, 1.0]])
    near = Distance(neighbors=1)
    near.fit(logged, torch.Generator())
    asked = torch.tensor([[4.0, 1.0], [0.0, 0.0], [16.0, 1.0]])
    # root mean squares: at a corner, 1 off in both dimensions, 3 off in the first
    torch.testing.assert_close(near.distance(asked), torch.tensor([0.0, 1.0, 3 / 2**0.5]))
    two = Distance(neighbors=2)
    two.fit(logged, torch.Generator())
    torch.testing.assert_close(two.distance(asked[:1]), torch.tensor([2 / 2 / 2**0.5]))  # itself, and one side away


@pytest.mark.parametrize("dimensions", [3, 12])  # of a tree, and of all distances
def test_the_search_on_a_gpu_finds_the_same_neighbors(dimensions: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.uncertainty.distance.PAIRS_AT_ONCE", 4)
    draws = torch.Generator().manual_seed(0)
    near = Distance(neighbors=3)
    state, reward = torch.randn(50, dimensions - 1, generator=draws), torch.zeros(50)
    near.fit(Transitions.from_log(state, state[:, :1].square(), reward, state, reward), draws)
    assert near.index is not None
    asked = torch.randn(10, dimensions, generator=draws)
    rows = near.index.kneighbors(asked.numpy(), return_distance=False)
    torch.testing.assert_close(nearest_rows(asked, near.points, 3), torch.from_numpy(rows))


def test_distance_has_a_gradient_away_from_the_logs_and_none_at_a_logged_pair():
    near = Distance(neighbors=1)
    near.fit(logged_at([[-1.0, -1.0], [1.0, 1.0]]), torch.Generator())
    asked = torch.tensor([[1.0, 1.0], [3.0, 1.0]], requires_grad=True)
    near.distance(asked).sum().backward()
    torch.testing.assert_close(asked.grad, torch.tensor([[0.0, 0.0], [2**-0.5, 0.0]]))


def test_distance_keeps_a_share_of_long_logs_and_refuses_too_short_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.uncertainty.distance.ROWS", 10)
    logged = logged_at([[float(i), 0.0] for i in range(30)])
    near = Distance(neighbors=2)
    near.fit(logged, torch.Generator().manual_seed(0))
    assert len(near.points) == 10
    assert len(near.points.unique(dim=0)) == 10
    with pytest.raises(ValueError, match=r"penalty\.neighbors"):
        Distance(neighbors=31).fit(logged, torch.Generator())


def test_unknown_penalties_are_refused():
    with pytest.raises(ValueError, match=r"must be one of max_aleatoric, .*, bellman, auto"):
        PenaltyConfig("ensemble_sdt")
