"""Intervals and temperatures on distributions whose right answer is known."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import norm

from pipeline.assessment.calibration import coverage, fit_temperature, negative_log_likelihood, pit
from pipeline.uncertainty.calibration_file import Calibration, PenaltyCalibration

LEVELS = [0.5, 0.8, 0.9, 0.95]
ROWS = 20_000


def gaussian(told: float = 1.0, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One member that knows the mean and believes in ``told`` times the true std, of two outputs."""
    draws = torch.Generator().manual_seed(0)
    mean = torch.randn(1, rows, 2, generator=draws)
    std = torch.tensor([0.1, 3.0]).expand(1, rows, 2)
    return mean, told * std, mean[0] + std[0] * torch.randn(rows, 2, generator=draws)


def test_a_well_specified_gaussian_covers_what_it_says():
    held = coverage(pit(*gaussian()), LEVELS)
    torch.testing.assert_close(held, torch.tensor(LEVELS)[:, None].expand(4, 2), rtol=0, atol=0.01)


def test_an_overconfident_gaussian_covers_less_by_hand():
    held = coverage(pit(*gaussian(0.5)), LEVELS)
    expected = [2 * norm.cdf(0.5 * norm.ppf((1 + level) / 2)) - 1 for level in LEVELS]
    torch.testing.assert_close(held[:, 0], torch.tensor(expected, dtype=torch.float32), rtol=0, atol=0.01)


def test_pit_is_the_mixtures_distribution_function():
    mean, std = torch.tensor([[[0.0]], [[2.0]]]), torch.tensor([[[1.0]], [[0.5]]])
    u = pit(mean, std, torch.tensor([[1.0]]))
    assert u.item() == pytest.approx((norm.cdf(1.0) + norm.cdf(-2.0)) / 2, abs=1e-6)


def test_a_mixture_covers_what_it_says_though_no_member_does():
    draws = torch.Generator().manual_seed(1)
    mean = torch.tensor([-2.0, 2.0])[:, None, None].expand(2, ROWS, 1)
    member = torch.randint(2, (ROWS,), generator=draws)
    target = mean[member, 0] + torch.randn(ROWS, 1, generator=draws)
    held = coverage(pit(mean, torch.ones_like(mean), target), LEVELS).squeeze(1)
    torch.testing.assert_close(held, torch.tensor(LEVELS), rtol=0, atol=0.01)


def test_likelihood_is_the_mixtures():
    mean, std = torch.tensor([[[0.0]], [[2.0]]]), torch.tensor([[[1.0]], [[0.5]]])
    expected = -math.log((norm.pdf(1.0) + norm.pdf(1.0, 2.0, 0.5)) / 2)
    assert negative_log_likelihood(mean, std, torch.tensor([[1.0]])).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("told", "temperature"), [(0.5, 2.0), (1.0, 1.0), (4.0, 0.25), (0.02, 50.0)])
def test_temperature_mends_a_wrong_std(told: float, temperature: float):
    mean, std, target = gaussian(told)
    half = ROWS // 2
    found = fit_temperature(mean[:, :half], std[:, :half], target[:half])
    torch.testing.assert_close(found, torch.full((2,), temperature), rtol=0.03, atol=0)
    held = coverage(pit(mean[:, half:], std[:, half:] * found, target[half:]), LEVELS)
    torch.testing.assert_close(held, torch.tensor(LEVELS)[:, None].expand(4, 2), rtol=0, atol=0.015)


def test_temperature_of_one_gaussian_is_the_closed_form():
    mean, std, target = gaussian(0.3, rows=50)
    closed = ((target - mean[0]) / std[0]).square().mean(0).sqrt()
    torch.testing.assert_close(fit_temperature(mean, std, target), closed, rtol=1e-3, atol=0)


def calibration() -> Calibration:
    quantiles = {"0.5": 0.1, "0.9": 0.2, "0.95": 0.3, "0.99": 0.4}
    told = PenaltyCalibration("total", 1.5, quantiles, 0.8, {"1": 0.7, "5": None}, 0.9, 0.6)
    blind = PenaltyCalibration(None, None, {}, None, {"1": None, "5": None}, 0.5, 0.0)
    return Calibration(12, 50, "a", {"a": told, "b": blind}, {"x": 2.0})


def test_calibration_survives_its_file(tmp_path: Path):
    calibration().save(tmp_path / "new/seed-0.json")
    assert Calibration.load(tmp_path / "new/seed-0.json") == calibration()


def test_unusable_calibration_files_are_named(tmp_path: Path):
    file = tmp_path / "seed-0.json"
    with pytest.raises(ValueError, match=r"seed-0.json: not found; run `dvc repro"):
        Calibration.load(file)
    file.write_text('{"schema_version": 99}')
    with pytest.raises(ValueError, match="schema_version 99 is newer than 1; update the project"):
        Calibration.load(file)
    file.write_text('{"schema_version": 1, "penalties": {}}')
    with pytest.raises(ValueError, match=r"`.*`: is missing; delete it and run `dvc repro assess_world_model`"):
        Calibration.load(file)
