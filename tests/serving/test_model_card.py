"""The model card says what a policy is made of, what it scored and how it is used."""

from dataclasses import replace
from typing import Any

from pipeline.evaluation.results import EvaluationSummary, ImaginationSettings, Learner, ScoreSummary, score_line
from pipeline.reporting.text.score_lines import score_lines
from pipeline.serving.bundle import BundleSpec
from pipeline.serving.model_card import SCORES_ELSEWHERE, model_card


def facts(**changed: Any) -> BundleSpec:
    given: dict[str, Any] = {
        "policy": "sac",
        "config": {},
        "obs_shapes": {"state": [3], "camera": [64, 64, 3]},
        "statistics": {},
        "action_low": [-2.0],
        "action_high": [2.0],
        "env_id": None,
        "env_kwargs": {},
        "dataset": {
            **{"name": "kiln", "source": "table", "transitions": 40000, "episodes": 200},
            **{"digest": "abc", "license": None, "obs_names": {"state": ["level", "mode=auto", "mode=off"]}},
        },
        "seed": 3,
        "privileged_knowledge": [],
        "action_kind": "continuous",
        "action_start": 0,
    }
    return BundleSpec(**given | changed)


def scored(mean: float | None) -> ScoreSummary:
    bounds = None if mean is None else (mean - 1, mean + 2)
    return ScoreSummary(mean, bounds, mean, bounds, -136.65, (-155.04, -119.67), episodes=100, seeds=2)


RESULT = EvaluationSummary(
    schema_version=3,
    environment="Pendulum-v1",
    note=None,
    learners={"policy": Learner("sac", 100, True), "bc": Learner("bc", 100, False)},
    scores={"policy": scored(None), "bc": scored(None), "random": None},
    imagined_return=-140.6,
    real_return=-136.54,
    exploitation_gap=-4.06,
    imagination=ImaginationSettings(100, 256, "first steps"),
    seeds=[0, 1],
    privileged_knowledge=[],
    visited=None,
)


def test_a_card_reads_as_text() -> None:
    card = model_card(facts())
    assert "# sac policy for kiln" in card
    assert "| data | kiln (table): 40,000 transitions in 200 episodes |" in card
    assert "| license of the data | not stated |" in card
    assert "| observations | state: 3 (level, mode=auto, mode=off); camera: 64 x 64 x 3 |" in card
    assert "| actions | 1, from [-2.0] to [2.0] |" in card
    assert f"## Scores\n\n{SCORES_ELSEWHERE}\n\n## Use" in card
    discrete = model_card(facts(action_kind="discrete", action_low=[-1.0] * 4, action_start=1))
    assert "| actions | one of 4, numbered from 1 |" in discrete


def test_scores_are_a_table() -> None:
    lines = score_lines(RESULT).splitlines()
    assert lines[0] == "Real episodes in Pendulum-v1, seeds 0, 1."
    assert lines[2:6] == [
        "| agent | mean return [95 %] | episodes |",
        "|---|---|---|",
        "| policy | -136.7 [-155.0, -119.7] | 100 |",
        "| behavior cloning | -136.7 [-155.0, -119.7] | 100 |",
    ]
    assert lines[-1] == "Imagined return over 100 steps: -140.6; real, over the same steps: -136.5."
    references = score_lines(replace(RESULT, scores={"policy": scored(98.76)})).splitlines()
    assert references[2] == "| agent | mean return [95 %] | mean normalized score [95 %] | episodes |"
    assert references[4] == "| policy | -136.7 [-155.0, -119.7] | 98.8 [97.8, 100.8] | 100 |"


def test_the_terminal_shows_each_interval_beside_its_number() -> None:
    assert score_line("bc", scored(None)) == "     bc: return -136.7 [-155.0, -119.7]"
    assert score_line("policy", scored(98.76)).endswith("return -136.7 [-155.0, -119.7], score 98.8 [97.8, 100.8]")


def test_without_an_environment_there_is_no_score() -> None:
    alone = replace(RESULT, environment=None, real_return=None, scores={"logged": scored(None)}, seeds=[0])
    lines = score_lines(alone).splitlines()
    assert lines[0] == "No real episode was run, so the policy has no score; trained with seed 0."
    assert lines[-1] == "Imagined return over 100 steps: -140.6."
