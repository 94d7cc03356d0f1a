"""dvc.yaml says what the stages do: what they read, write and run, and so what an edit re-runs."""

import ast
import configparser
import importlib
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import pytest
from closure import NO_OUTPUT, ROOT, UNUSED, closure, data_paths, excepted, imports, source, within
from dulwich.ignore import IgnoreFilter

from pipeline.policies import BASELINES
from pipeline.tracking.dvc_files import read_yaml

STAGES: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
TRAINED = {
    "fit_world_model",
    "assess_world_model",
    "baseline",
    "learn_policy",
    "evaluate_offline",
}  # once for each seed
NAME = "${item.name}"  # of a baseline
# The stages, and the one of each baseline, with the module of its learner.
RUNS: list[tuple[str, str | None]] = [(stage, None) for stage in STAGES if stage != "baseline"]
RUNS += [("baseline", learner.__module__) for learner in BASELINES.values()]
LEARNED = {"learn_policy", "evaluate_offline", "evaluate", "report"}  # a policy, and what follows it
FILES = sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "pipeline").rglob("*.py"))
TRACKING = [file for file in FILES if file.startswith("pipeline/tracking/")]
STAGE_MODULE = "pipeline.stages.stage"


def library(stage: str, name: str = NAME) -> list[str]:
    """The files and rooms of the library that dvc.yaml lists; for the baseline ``name``."""
    return [d.replace(NAME, name) for d in STAGES[stage]["deps"] if d.startswith("pipeline/")]


def data(stage: str) -> list[str]:
    return [d for d in STAGES[stage]["deps"] if not d.startswith("pipeline/")]


def covers(dep: str, file: str) -> bool:
    """Whether ``dep`` is ``file`` or a folder that holds it."""
    return f"{file}/".startswith(f"{dep}/")


def stages_hashing(file: str, name: str = "bc") -> set[str]:
    """The stages that an edit of ``file`` re-runs at once, not by what they read; with ``name`` the only baseline."""
    return {s for s in STAGES if any(covers(dep, file) for dep in library(s, name))}


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
    """The stages whose ``params`` hold ``parameter``, or a block it lies in; with `bc` the only baseline."""
    blocks = {s: [p.replace(NAME, "bc") for p in body["params"]] for s, body in STAGES.items()}
    return {s for s, held in blocks.items() if any(f"{parameter}.".startswith(f"{p}.") for p in held)}


def test_every_stage_has_its_script_and_every_script_its_stage():
    scripts = {p.stem for p in (ROOT / "pipeline/stages").glob("*.py") if "def main(" in p.read_text()}
    assert scripts == set(STAGES)


def test_a_refused_log_leaves_the_last_dataset_standing():
    ingest = STAGES["ingest"]
    assert all(options["persist"] for out in ingest["outs"] for options in out.values())


def test_views_of_dvc_show_the_summary_and_the_figures():
    """`dvc metrics show` prints every number of every file among `metrics`."""
    shown = [path for stage in STAGES.values() for path in paths(stage.get("metrics", []))]
    assert shown == ["reports/summary.json"]
    assert read_yaml(ROOT / "dvc.yaml")["plots"] == ["reports/figures"]
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc/config")
    page = (ROOT / ".dvc" / config["plots"]["html_template"]).read_text()
    assert "{plot_divs}" in page
    assert "http" not in page


@pytest.mark.parametrize(("stage", "learner"), RUNS)
def test_deps_cover_every_file_that_the_outputs_depend_on(stage: str, learner: str | None):
    listed = library(stage, (learner or "").rpartition(".")[2])
    missing = [file for file in closure(stage, learner) if not any(covers(dep, file) for dep in listed)]
    assert missing == [], f"list them, or their room, in the deps of {stage}; an exception goes into tests/closure.py"


@pytest.mark.parametrize("stage", STAGES)
def test_every_listed_room_and_file_is_used(stage: str):
    """By one baseline at least, where a stage runs for several."""
    used = {file for s, learner in RUNS if s == stage for file in closure(stage, learner)}
    unused = [dep for dep in library(stage, "bc") if not any(covers(dep, file) for file in used)]
    assert unused == [], f"take them out of the deps of {stage}"
    assert [dep for dep in library(stage, "bc") if not (ROOT / dep).exists()] == []


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_called_like_its_file(name: str):
    """So that dvc.yaml lists the file of one learner alone."""
    assert BASELINES[name].__module__ == f"pipeline.policies.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_no_file_is_listed_twice(stage: str):
    deps = library(stage)
    assert [(a, b) for a in deps for b in deps if a != b and covers(a, b)] == []
    assert len(deps) == len(set(deps))


def test_exceptions_name_modules_that_stages_import():
    """An exception that no import reaches has outlived its reason."""
    for stage in STAGES:
        reached = {m for file in closure(stage) for m in imports(ROOT / file)}
        assert all(any(within(m, {name}) for m in reached) for name in UNUSED.get(stage, {}))
    reached = {m for s in STAGES for file in closure(s) for m in imports(ROOT / file)} | imports(source(STAGE_MODULE))
    assert [name for name in NO_OUTPUT if not any(within(m, {name}) for m in reached)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_no_exception_is_listed_as_a_dep(stage: str):
    files = [f for f in FILES if within(f.removesuffix(".py").replace("/", "."), excepted(stage))]
    assert files
    assert [f for f in files if any(covers(dep, f) for dep in library(stage))] == []


@pytest.mark.parametrize("file", [f for f in FILES if f.endswith("/__init__.py")])
def test_importing_a_package_only_defines_names(file: str):
    """The closure does not follow parents of imported modules, so executing one must have no effect on a stage."""
    if file == "pipeline/stages/__init__.py":  # sets Python's collector, on which no output depends
        return
    harmless = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
    module, *body = ast.parse((ROOT / file).read_text()).body
    assert isinstance(module, ast.Expr)  # the docstring
    assert [ast.unparse(node) for node in body if not isinstance(node, harmless)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_deps_and_outs_are_what_the_stage_reads_and_writes(stage: str):
    assert data(stage) == data_paths(stage, "READS")
    assert sorted(written(stage)) == sorted(data_paths(stage, "WRITES"))


@pytest.mark.parametrize("stage", STAGES)
def test_params_hold_every_block_the_stage_uses(stage: str):
    """BLOCKS where a stage names them, and whatever its source asks params.yaml for."""
    module = importlib.import_module(f"pipeline.stages.{stage}")
    source = (ROOT / f"pipeline/stages/{stage}.py").read_text()
    asked = set(re.findall(r'(?:section\(run\.params, |run\.params\[)"(\w+)"', source))
    asked |= {block.replace("{name}", NAME) for block in getattr(module, "BLOCKS", [])}
    assert asked <= set(STAGES[stage]["params"])
    if stage != "report":  # the page prints all of params.yaml
        assert asked == set(STAGES[stage]["params"])


@pytest.mark.parametrize("stage", STAGES)
def test_commands_are_free_of_shell_syntax(stage: str):
    axes = STAGES[stage].get("matrix", {})
    assert STAGES[stage]["cmd"] == " ".join(
        [f"python -m pipeline.stages.{stage}", *(f"--{a} ${{item.{a}}}" for a in axes)]
    )


@pytest.mark.parametrize("stage", STAGES)
def test_seeds_are_stages_of_their_own(stage: str):
    """A seed has its own outputs, so adding one runs that one only."""
    assert STAGES[stage].get("matrix", {}).get("seed") == ("${seeds}" if stage in TRAINED else None)
    assert all(("${item.seed}" in out) == (stage in TRAINED) for out in written(stage))


def edges() -> Iterator[tuple[str, str]]:
    for stage in STAGES:
        for path in data(stage):
            yield path, stage


def test_nothing_is_read_that_no_stage_writes():
    made = {str(part) for s in STAGES for out in written(s) for part in (PurePath(out), *PurePath(out).parents)}
    unmade = {path for path, _ in edges()} - made
    given = {"${dataset.path}", "${dataset.held_out_path}", "data/transforms"}
    assert unmade == given | {"data/start/world_model", "data/start/policy"}


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("penalty.weight", {"learn_policy", "evaluate_offline", "evaluate", "report"}),
        ("policy.updates", {"learn_policy", "evaluate_offline", "evaluate", "report"}),
        ("baselines", {"evaluate_offline", "evaluate", "report"}),
        ("bc.updates", {"baseline", "evaluate_offline", "evaluate", "report"}),
        ("offline.discount", {"evaluate_offline", "evaluate", "report"}),
        ("evaluation.episodes", {"evaluate", "report"}),
        ("fit.max_epochs", set(STAGES) - {"ingest", "baseline"}),
        ("dataset.split_seed", set(STAGES)),
    ],
)
def test_a_changed_parameter_runs_these_stages_alone(parameter: str, expected: set[str]):
    assert stages_that_run(stages_using(parameter)) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("pipeline/policies/sac.py", LEARNED),
        ("pipeline/policies/__init__.py", LEARNED),
        ("pipeline/policies/bc.py", {"baseline", *LEARNED}),
        ("pipeline/policies/iql.py", LEARNED),
        ("pipeline/networks/critic.py", {"baseline", *LEARNED}),
        ("pipeline/imagination.py", {"assess_world_model", *LEARNED}),
        ("pipeline/training/policy.py", {"baseline", *LEARNED}),
        ("pipeline/training/world_model.py", set(STAGES) - {"ingest", "baseline"}),
        ("pipeline/world_models/rssm.py", set(STAGES) - {"ingest", "baseline"}),
        ("pipeline/evaluation/compare.py", {"evaluate", "report"}),
        ("pipeline/reporting/page.py", {"report"}),
        ("pipeline/reporting/templates/page.html.j2", {"report"}),
        ("pipeline/ingest/writer.py", set(STAGES)),
        *((file, set()) for file in TRACKING),
        ("pipeline/params.py", set()),
        ("pipeline/stages/preflight.py", set()),
        ("pipeline/serving/onnx.py", set()),
        ("pipeline/cli/plot.py", set()),
        ("pipeline/bench/timing.py", set()),
    ],
)
def test_an_edited_file_runs_these_stages_alone(file: str, expected: set[str]):
    assert (ROOT / file).exists()
    assert stages_that_run(stages_hashing(file)) == expected


def test_an_edited_learner_reaches_the_stages_that_act_by_it():
    """`dvc status` shows these as changed at once; baselines and the world model keep their results."""
    assert stages_hashing("pipeline/policies/sac.py") == {"learn_policy", "evaluate_offline", "evaluate"}


def test_dvc_sees_logs_that_were_added_to_it() -> None:
    """DVC asks with a slash behind the folder whether git ignores it, and then looks for no .dvc file within."""
    ignored = IgnoreFilter.from_path(ROOT / ".gitignore").is_ignored
    assert not ignored("data/logs/")
    assert ignored("data/logs/mine.npz")
    assert not ignored("data/logs/mine.npz.dvc")
