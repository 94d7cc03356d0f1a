"""What runs and models are called in MLflow."""

from typing import Any

import pytest

from pipeline.tracking.names import model_name, parent_name, stage_name

PARAMS: dict[str, Any] = {
    "seeds": [0],
    "dataset": {"source": "minari", "name": None, "dataset_id": "D4RL/door/human-v2"},
    "world_model": {"name": "rssm"},
    "policy": {"name": "sac"},
    "penalty": {"name": "ensemble_std", "weight": 0.5},
}


@pytest.mark.parametrize(
    ("changed", "dataset", "experiment", "expected"),
    [
        ({}, "mountaincar", None, "mountaincar sac ensemble_std w0.5 seed 0"),
        ({}, None, None, "D4RL/door/human-v2 sac ensemble_std w0.5 seed 0"),
        ({"dataset": {"source": "table", "name": None}}, None, None, "table sac ensemble_std w0.5 seed 0"),
        ({"seeds": [0, 3]}, "plant", "lucky-cat", "lucky-cat: plant sac ensemble_std w0.5 seeds 0,3"),
        ({"penalty": {"name": "auto", "weight": "auto"}}, "plant", None, "plant sac auto w auto seed 0"),
        ({"policy": {"name": "bc"}}, "plant", None, "plant bc seed 0"),  # it imagines nothing
    ],
)
def test_an_execution_is_called_by_its_choices(
    changed: dict[str, Any], dataset: str | None, experiment: str | None, expected: str
) -> None:
    assert parent_name(PARAMS | changed, dataset, experiment) == expected


def test_a_stage_is_called_by_its_choice_and_seed() -> None:
    assert stage_name("ingest", None, PARAMS) == "ingest minari"
    assert stage_name("fit_world_model", 2, PARAMS) == "fit_world_model rssm seed 2"
    assert stage_name("baseline", 0, PARAMS, "bc") == "baseline bc seed 0"
    assert stage_name("report", None, PARAMS) == "report"


def test_a_model_is_called_by_what_it_learned_from() -> None:
    assert model_name("D4RL/door/human-v2", "sac", 1) == "D4RL-door-human-v2-sac-seed-1"
