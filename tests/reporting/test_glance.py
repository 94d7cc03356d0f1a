"""The first screen follows from the numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from reporting_outputs import write_outputs

from pipeline.reporting.results import Results, load
from pipeline.reporting.text.glance import glance, recipe


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("finished")
    write_outputs(root, [0, 1])
    return load(root, [0, 1])


def told(results: Results) -> dict[str, str]:
    return {reason.topic: reason.says.replace("\u00a0", " ") for reason in glance(results)}


def evaluated(results: Results, **changed: object) -> Results:
    return replace(results, evaluation={**results.evaluation, **changed})


def test_every_reason_is_told_from_the_numbers(results: Results) -> None:
    says = told(results)
    assert says["Runs"] == "80 real episodes of 2 seeds, too few to tell how much training itself varies."
    share = sum(e["model_rmse"][0] for e in results.errors.values()) / 2 / 0.2
    assert says["World model"] == (
        f"May imagine 17 steps; its error of one held-out step is {100 * share:.1f} % of that of expecting no change."
    )
    assert says["Its intervals"] == "Its 90 % intervals hold 82 % of held-out steps, 70 % where the policy goes."
    judged = says["EvaluatedPolicy from logs alone"]
    assert judged.startswith("Estimates that put the policy above behavior cloning: fitted Q")
    for logged, end in ((-1e9, "Above logged behavior: fitted Q evaluation"), (1e9, "None puts it above logged")):
        judged = told(replace(results, offline={**results.offline, "logged": {"value": logged}}))
        assert end in judged["EvaluatedPolicy from logs alone"]


def test_a_promise_is_held_against_what_came(results: Results) -> None:
    for imagined, verdict in ((-104.0, "kept"), (-60.0, "too much"), (-180.0, "too little")):
        gap = {"imagined_return": imagined, "real_return": -100.0, "exploitation_gap": imagined + 100}
        assert told(evaluated(results, **gap))["Its promise"].endswith(f"the environment gave −100.0: {verdict}.")


def test_without_an_environment_it_says_what_is_not_known(tmp_path: Path) -> None:
    write_outputs(tmp_path, [0], with_environment=False)
    envless = load(tmp_path, [0])
    says = told(envless)
    assert says["Runs"] == "Trained with seed 0; no real episode was run."
    assert says["Its promise"].endswith("over 50 steps; nothing real to hold against it.")
    assert "where the policy goes" not in says["Its intervals"]
    skipped = replace(envless, reliability={0: {"skipped": "a point latent expects no noise"}})
    assert told(skipped)["Its intervals"] == "Could not be judged."
    assert recipe({}, envless) == "seed 0, environment none"


def test_logs_name_what_was_found(results: Results) -> None:
    quiet = [{**found, "severity": "info"} for found in results.findings]
    assert told(replace(results, findings=quiet))["Logs"].endswith(f"{len(quiet)} checks on them warn of nothing.")
    odd = [{**quiet[0], "name": "time_gaps", "severity": "serious"}, *quiet]
    assert told(replace(results, findings=odd))["Logs"].endswith("warn of time gaps (serious).")


@pytest.mark.parametrize("weight", [0.5, "auto"])
def test_the_recipe_names_what_was_run(weight: float | str, results: Results) -> None:
    params = {
        "policy": {"name": "sac"},
        "world_model": {"name": "rssm"},
        "penalty": {"name": "disagreement", "weight": weight},
    }
    assert recipe(params, results) == (
        f"policy sac, world model rssm, penalty disagreement × {weight}, seeds 0, 1, environment Pendulum-v1"
    )
