"""What the report says of trust follows from the numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reporting_outputs import LEVELS, OUTPUTS, PENALTIES

from pipeline.assessment.results import HorizonCorrelations, NoReliability
from pipeline.reporting.figures.trust import reliability_figure, rollout_figure
from pipeline.reporting.results import Results
from pipeline.reporting.text.advice import advice
from pipeline.reporting.trust import feature_table, penalty_table, reliability_table, shift_table


def with_errors(results: Results, **changed: Any) -> Results:
    return replace(results, errors={seed: replace(e, **changed) for seed, e in results.errors.items()})


def advised(results: Results, used: str | None = None) -> str:
    """All the advice."""
    return plain(" ".join(text for _, text in advice(results, used).rows))


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_the_best_penalty_comes_first(results: Results):
    table = penalty_table(results)
    assert table.header == ["penalty", "measures", "one step", "5 steps", "policy's states", "AUC", "scale", "score"]
    assert table.rows[0] == ["ensemble_std", "total", "0.85", "0.45", "0.25", "0.88", "1.50", "0.75"]
    assert table.rows[1][0] == "max_aleatoric"
    assert table.rows[2] == ["bellman", "epistemic", "–", "–", "0.40", "–", "–", "–"]  # measured there alone


def test_without_an_environment_the_policys_own_states_are_left_out(envless: Results):
    assert "policy's states" not in penalty_table(envless).header
    assert [row[0] for row in shift_table(envless).rows] == ["held-out logs"]
    assert "policy" not in advised(envless, None)
    assert "policy's own steps" not in dict(advice(envless, None).rows)


def test_the_shift_stands_beside_the_logs(results: Results):
    logs, there = shift_table(results).rows
    assert (logs[1], there[1]) == ("8,000", "1,000")
    assert plain(logs[5]) == f"{100 * np.mean(list(OUTPUTS.values())):.0f} %"
    assert [plain(x) for x in there[2:]] == ["0.200", "30 %", "50 %", "70 %", "80 %"]


def test_features_come_with_their_intervals(results: Results):
    table = feature_table(results)
    assert [row[0] for row in table.rows] == ["state[0]", "state[1]", "reward"]
    assert [plain(x) for x in table.rows[1]] == [
        *("state[1]", "0.400", "0.450", "1.00", "0.840", "0.800", "60 %", "90 %", "2.50"),
    ]
    latents = {seed: replace(r, outputs=["l0", "l1", "l2"]) for seed, r in results.reliability.items()}
    assert len(feature_table(replace(results, reliability=latents)).header) == 6


def test_reliability_before_and_after(results: Results):
    before, after, constant = reliability_table(results).rows
    assert before[1] == "0.00"
    assert plain(after[1]) == "−0.400"
    assert [plain(x) for x in after[2:]] == ["50 %", "80 %", "90 %", "95 %"]
    assert constant[1] == "1.40"


def test_advice_names_penalty_horizon_and_overconfidence(results: Results):
    text = advised(results, "max_aleatoric")
    for sentence in (
        "`penalty.name: auto` takes ensemble_std. Its rank correlation with the error of one held-out step is 0.85",
        "0.75 after 1 step and 0.45 after 5.",
        "This run used max_aleatoric.",
        "The world model is trusted for 17 steps: up to there, nine of ten held-out windows stay within 0.700",
        "The model is overconfident. Share of targets inside its 90 % intervals: 60 % for state[1].",
        "On average, 90 % intervals contain 82 % of targets, recalibrated 90 %.",
        "90 % intervals contain 70 % of targets.",
        "The largest error of one held-out step is that of state[0]: 0.500 standard deviations of its change.",
        "The error is larger than that of linear regression for state[0] (1.11 times).",
    ):
        assert sentence in text
    assert "This run used it." in advised(results, "ensemble_std")
    assert "This run used" not in advised(results, "bellman")
    assert "about as well" not in text


def test_there_is_one_recommendation_and_it_is_that_of_auto(results: Results):
    """Even where another penalty has a better mean score over seeds, or ranks better in the environment."""
    quality = results.errors[0].penalties
    near = {**quality, "max_aleatoric": replace(quality["max_aleatoric"], score=quality["ensemble_std"].score - 0.01)}
    text = advised(with_errors(results, penalties=near), "ensemble_std")
    assert "`penalty.name: auto` takes ensemble_std." in text
    assert "On the logs, max_aleatoric does about as well." in text
    assert "This run used it." in text
    first, second = results.seeds
    calibrations = {
        first: replace(results.calibration[first], best_penalty="max_aleatoric"),
        second: replace(results.calibration[second], best_penalty="ensemble_std"),
    }
    mixed = advised(replace(results, calibration=calibrations), "ensemble_std")
    assert "`penalty.name: auto` takes max_aleatoric (seed 0) and ensemble_std (seed 1)." in mixed
    assert "This run used ensemble_std." in mixed


def test_what_the_environment_shows_stands_apart(results: Results):
    rows = dict(advice(results, None).rows)
    assert "policy" not in rows["which penalty"]
    assert plain(rows["penalty in the environment"]) == (
        "On real steps of the policy, the rank correlation of ensemble_std with the error is 0.25; max_aleatoric ranks"
        " best there (0.55). `auto` does not use this: it needs an environment."
    )
    unvisited = replace(results, evaluation=replace(results.evaluation, visited=None))
    assert "penalty in the environment" not in dict(advice(unvisited, None).rows)


def test_advice_at_the_ends_of_the_horizon(results: Results):
    trust = results.errors[0].trust
    assert "Do not imagine with this model" in advised(with_errors(results, trust=replace(trust, horizon=0)))
    assert "at least 50 steps" in advised(with_errors(results, trust=replace(trust, horizon=50)))
    horizons = {0: 3, 1: 9}
    uneven = {seed: replace(e, trust=replace(trust, horizon=horizons[seed])) for seed, e in results.errors.items()}
    assert "3 to 9 steps, depending on the seed" in advised(replace(results, errors=uneven))


def test_advice_names_what_is_unknown(results: Results):
    blind = {
        name: replace(results.errors[0].penalties[name], spearman=None, auc=0.5, score=link)
        for name, link in PENALTIES.items()
    }
    text = advised(with_errors(results, penalties=blind))
    assert "undefined" in text
    assert "no penalty here ranks the model's errors well" in text
    assert "hardly separates logged actions from others (AUC 0.50)" in text
    skipped = {seed: NoReliability("a point latent expects no noise") for seed in results.seeds}
    unknown = replace(results, reliability=skipped)
    assert "overconfident is unknown: a point latent expects no noise." in advised(unknown)
    assert reliability_figure(unknown) is None
    assert reliability_table(unknown).rows == []
    assert shift_table(unknown).rows[0][3:] == ["–"] * 4


def test_advice_praises_only_what_holds(results: Results):
    def held(share: float) -> str:
        coverage = [[share * level] * 3 for level in LEVELS]
        fine = {seed: replace(r, coverage_before=coverage) for seed, r in results.reliability.items()}
        return advised(replace(results, reliability=fine))

    assert "nowhere overconfident on held-out steps. On average, 90 % intervals contain 90 %" in held(1)
    assert "but rather underconfident. On average, 90 % intervals contain 99 %" in held(1.1)


def test_figures_show_means_over_outputs_and_seeds(results: Results):
    figure = reliability_figure(results)
    assert figure is not None
    before = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert before["mean of outputs"][2] == pytest.approx(np.mean(list(OUTPUTS.values())))
    along = {line.get_label(): line.get_ydata() for line in rollout_figure(results).axes[0].lines}
    assert along["ensemble_std"] == pytest.approx([0.75, 0.45])


def test_an_undefined_correlation_is_a_gap(results: Results, tmp_path: Path):
    first = results.errors[0].penalties["ensemble_std"]
    undefined = HorizonCorrelations(spearman=[None, 0.2], pearson=[None, None])
    gap = replace(first, rollout=replace(first.rollout, sum=undefined))
    figure = rollout_figure(with_errors(results, penalties={"ensemble_std": gap}))
    line = figure.axes[0].lines[0]
    assert np.isnan(line.get_ydata()[0])
    figure.savefig(tmp_path / "gap.png")
