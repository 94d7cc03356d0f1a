"""dvc.yaml says what the stages do: what they read, write and run, and so what an edit re-runs."""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from closure import ROOT, closure, data_paths
from dulwich.ignore import IgnoreFilter

from pipeline.tracking.dvc_files import read_yaml

STAGES: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
TRAINED = {
    "fit_world_model",
    "assess_world_model",
    "behavior_cloning",
    "learn_policy",
    "evaluate_offline",
}  # once for each seed


def library(stage: str) -> list[str]:
    return [d for d in STAGES[stage]["deps"] if d.endswith(".py")]


def data(stage: str) -> list[str]:
    return [d for d in STAGES[stage]["deps"] if not d.endswith(".py")]


def paths(outputs: list[Any]) -> list[str]:
    """Outputs without their options."""
    return [next(iter(out)) if isinstance(out, dict) else out for out in outputs]


def written(stage: str) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in paths(STAGES[stage].get(kind, []))]


def stages_that_run(changed: set[str]) -> set[str]:
    """The stages ``changed`` and all that stand on what they write."""
    roots = [path.split("/seed-")[0] for stage in changed for path in written(stage)]
    more = {s for s in STAGES if any(d.split("/seed-")[0] in roots for d in data(s))}
    return changed if more <= changed else stages_that_run(changed | more)


def stages_using(parameter: str) -> set[str]:
    """The stages whose ``params`` hold ``parameter``, or a block it lies in."""
    return {s for s, body in STAGES.items() if any(f"{parameter}.".startswith(f"{p}.") for p in body["params"])}


def test_every_stage_has_its_script_and_every_script_its_stage():
    scripts = {p.stem for p in (ROOT / "pipeline/stages").glob("*.py") if "def main(" in p.read_text()}
    assert scripts == set(STAGES)


def test_a_refused_log_leaves_the_last_dataset_standing():
    ingest = STAGES["ingest"]
    assert all(options["persist"] for out in ingest["outs"] + ingest["metrics"] for options in out.values())


@pytest.mark.parametrize("stage", STAGES)
def test_deps_hold_every_file_the_stage_runs(stage: str):
    assert library(stage) == closure(f"pipeline.stages.{stage}"), "run `python tests/closure.py`"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_and_outs_are_what_the_stage_reads_and_writes(stage: str):
    assert data(stage) == data_paths(stage, "READS")
    assert sorted(written(stage)) == sorted(data_paths(stage, "WRITES"))


@pytest.mark.parametrize("stage", STAGES)
def test_params_hold_every_block_the_stage_uses(stage: str):
    """BLOCKS where a stage names them, and whatever its source asks params.yaml for."""
    module = importlib.import_module(f"pipeline.stages.{stage}")
    source = (ROOT / f"pipeline/stages/{stage}.py").read_text()
    asked = set(re.findall(r'(?:section\(run\.params, |run\.params\[)"(\w+)"', source)) | set(
        getattr(module, "BLOCKS", [])
    )
    assert asked <= set(STAGES[stage]["params"])
    if stage != "report":  # the page prints all of params.yaml
        assert asked == set(STAGES[stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_commands_are_free_of_shell_syntax(stage: str):
    expected = f"python -m pipeline.stages.{stage}" + (" --seed ${item.seed}" if stage in TRAINED else "")
    assert STAGES[stage]["cmd"] == expected


@pytest.mark.parametrize("stage", STAGES)
def test_seeds_are_stages_of_their_own(stage: str):
    """A seed has its own outputs, so adding one runs that one only."""
    assert STAGES[stage].get("matrix") == ({"seed": "${seeds}"} if stage in TRAINED else None)
    assert all(("${item.seed}" in out) == (stage in TRAINED) for out in written(stage))


def edges() -> Iterator[tuple[str, str]]:
    for stage in STAGES:
        for path in data(stage):
            yield path, stage


def test_nothing_is_read_that_no_stage_writes():
    made = {part for s in STAGES for out in written(s) for part in (out, out.split("/seed-")[0])}
    unmade = {path for path, _ in edges()} - made
    assert unmade == {"${dataset.path}", "${dataset.held_out_path}", "data/transforms"}


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("penalty.weight", {"learn_policy", "evaluate_offline", "evaluate", "report"}),
        ("policy.updates", {"learn_policy", "evaluate_offline", "evaluate", "report"}),
        ("bc.updates", {"behavior_cloning", "evaluate_offline", "evaluate", "report"}),
        ("offline.discount", {"evaluate_offline", "evaluate", "report"}),
        ("evaluation.episodes", {"evaluate", "report"}),
        ("fit.max_epochs", set(STAGES) - {"ingest", "behavior_cloning"}),
        ("dataset.split_seed", set(STAGES)),
    ],
)
def test_a_changed_parameter_runs_these_stages_alone(parameter: str, expected: set[str]):
    assert stages_that_run(stages_using(parameter)) == expected


@pytest.mark.parametrize(
    ("file", "unaffected"),
    [
        ("pipeline/training/policy.py", {"ingest", "fit_world_model", "assess_world_model"}),
        ("pipeline/training/world_model.py", {"ingest", "behavior_cloning"}),
        ("pipeline/evaluation/compare.py", set(STAGES) - {"evaluate", "report"}),
        ("pipeline/reporting/page.py", set(STAGES) - {"report"}),
    ],
)
def test_an_edited_file_leaves_other_stages_alone(file: str, unaffected: set[str]):
    assert stages_that_run({s for s in STAGES if file in library(s)}) == set(STAGES) - unaffected


def test_dvc_sees_logs_that_were_added_to_it() -> None:
    """DVC asks with a slash behind the folder whether git ignores it, and then looks for no .dvc file within."""
    ignored = IgnoreFilter.from_path(ROOT / ".gitignore").is_ignored
    assert not ignored("data/logs/")
    assert ignored("data/logs/mine.npz")
    assert not ignored("data/logs/mine.npz.dvc")
