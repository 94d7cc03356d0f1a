"""The list ``baselines`` of params.yaml: what it may hold, and what a change of it runs again."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from closure import ROOT
from data_examples import counting_log

from pipeline.ingest.writer import write_dataset
from pipeline.params import read_params
from pipeline.policies import BASELINES
from pipeline.stages.evaluate_offline import _remove_unlisted
from pipeline.stages.preflight import blocks, check, check_listed, without_unlisted
from pipeline.stages.stage import stage
from pipeline.tracking.dvc_files import StageDefinition, definitions_in, read_yaml
from pipeline.training.config import check_baseline

PARAMS = read_params(ROOT / "params.yaml")
AFTER = {"evaluate_offline@0", "evaluate", "report"}  # the stages that read what all baselines learned


def listing(*names: object, **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(PARAMS), "baselines": list(names), **changes}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (listing("bc", "td3"), r"`baselines`: `td3` is unknown \(did you mean `td3_bc`\?\)$"),
        (
            listing("bc", "sac"),
            r"`baselines`: `sac` needs a world model, so it is no baseline: choose it by `policy.name`",
        ),
        (listing("cem"), "`baselines`: `cem` needs a world model"),
        (listing("bc", "iql", "bc"), "`baselines`: `bc` is there twice; remove one$"),
        (
            listing(),
            r"`baselines`: \[\] must list one or more of the learners bc, weighted_bc, td3_bc, iql, rebrac, such as"
            r" \[bc\]$",
        ),
        (listing(["bc"]), "must list one or more of the learners"),
        (listing(1), "must list one or more of the learners"),
        ({**listing(), "baselines": "bc"}, "`baselines`: `bc` must list one or more of the learners"),
        ({**listing(), "baselines": None}, "must list one or more of the learners"),
        ({k: v for k, v in PARAMS.items() if k != "baselines"}, r"`baselines` is missing; add `baselines: \[bc\]`$"),
        ({k: v for k, v in listing("iql").items() if k != "iql"}, "block `iql` is missing; add `iql: {}`"),
        (listing("iql", iql={"expectil": 0.9}), r"unknown key `iql.expectil` \(did you mean `expectile`\?\)$"),
        (listing("bc", iql={"expectile": 2}), "`iql.expectile`"),  # not listed, and wrong all the same
        (listing("bc", baseline=["bc"]), r"unknown block `baseline` \(did you mean `baselines`\?\)$"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused_in_one_line(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check(params)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


def test_the_block_of_a_baseline_that_is_not_listed_may_be_missing() -> None:
    unlisted = ("bc", "weighted_bc", "iql", "rebrac")
    check({name: block for name, block in listing("td3_bc").items() if name not in unlisted})


def test_a_stage_by_hand_learns_what_is_listed_alone() -> None:
    check_listed("bc", listing("bc"))
    with pytest.raises(ValueError, match=r"`baselines`: \['bc'\] does not list `iql`; add it$"):
        check_listed("iql", listing("bc"))


def test_no_baseline_is_called_like_a_block_or_an_agent() -> None:
    assert not BASELINES.keys() & {"policy", "logged", "random", "imagined", "real_prefix", "seeds", "baselines"}
    assert all(blocks()[name] is learner.Config for name, learner in BASELINES.items())


def test_the_page_prints_no_block_that_no_stage_read() -> None:
    assert PARAMS.keys() - without_unlisted(listing("bc")).keys() == {"weighted_bc", "td3_bc", "iql", "rebrac"}


def test_logs_that_a_baseline_cannot_learn_from_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_dataset(tmp_path / "data/dataset", counting_log(), "counting", 0.3, 0).spec
    configs = {name: learner.Config() for name, learner in BASELINES.items()}
    for name, learner in BASELINES.items():
        check_baseline(name, learner, configs[name], spec)
    choices = replace(spec, action_kind="discrete")
    pictures = replace(spec, obs_shapes={"pixels": [8, 8, 3]})
    cloning = ["bc", "weighted_bc"]
    for unfit, able, reason in (
        (choices, [*cloning, "iql"], "needs continuous actions, and these are discrete: take it out of the list"),
        (pictures, cloning, "cannot see the images of these logs: take it out of the list; `bc` and `weighted_bc` can"),
    ):
        for name, learner in BASELINES.items():
            if name in able:
                check_baseline(name, learner, configs[name], unfit)
            else:
                with pytest.raises(ValueError, match=f"^params.yaml: `baselines`: `{name}` {reason}$"):
                    check_baseline(name, learner, configs[name], unfit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.data.spec.read_spec", lambda file: choices)
    check(listing("td3_bc"))  # before the logs are read, nothing is known of them
    with pytest.raises(ValueError, match="`td3_bc` needs continuous actions"):
        check(listing("td3_bc"), "fit_world_model")


def test_what_a_removed_baseline_learned_goes(tmp_path: Path) -> None:
    for name in ("bc", "iql", "mine"):
        (tmp_path / name).mkdir()
    assert _remove_unlisted(tmp_path, ["bc", "td3_bc"]) == ["iql"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bc", "mine"]


def test_a_stage_counts_what_it_prepared(bare_project: Path) -> None:
    """What is removed while it runs would look like an edit of its data."""
    stages = {"judge": {"cmd": "judge", "deps": ["data/read"], "outs": ["data/written"]}}
    (bare_project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name in ("bc", "iql"):
        (bare_project / "data/read" / name).mkdir(parents=True)
        (bare_project / "data/read" / name / "bundle.json").write_text(name)

    def prepare(params: dict[str, Any]) -> None:
        _remove_unlisted(Path("data/read"), params["seeds"])

    with stage("judge", prepare=prepare) as run:
        run.output("data/written").write_text("done")
    assert Path("data/written").read_text() == "done"
    assert not list(Path("data/read").iterdir())


def defined(params: dict[str, Any]) -> dict[str, tuple[StageDefinition, list[Any]]]:
    """What makes DVC run a stage again, but for the bytes of its files: paths, and the values of its parameters."""
    stages = definitions_in(read_yaml(ROOT / "dvc.yaml"), params)
    return {name: (stage, [params.get(key) for key in stage.params["params.yaml"]]) for name, stage in stages.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    old = defined(before)
    return {name for name, stage in defined(after).items() if stage != old.get(name)}


def test_a_change_of_the_list_runs_what_is_new_and_what_reads_all() -> None:
    assert changed(listing("bc"), listing("bc", "iql")) == {"baseline@iql-0", *AFTER}
    assert changed(listing("bc", "iql"), listing("bc")) == AFTER
    tuned = listing("bc", "iql", iql={**PARAMS["iql"], "updates": 7})
    assert changed(listing("bc", "iql"), tuned) == {"baseline@iql-0"}
    seeds = listing("bc", "iql", seeds=[0, 1])
    new = changed(listing("bc", "iql"), seeds)
    assert {name for name in new if "@" in name and not name.endswith("1")} == set()


def test_a_learner_of_its_own_file_runs_its_own_stage_alone() -> None:
    stages = definitions_in(read_yaml(ROOT / "dvc.yaml"), listing("bc", "iql"))
    readers = {name for name, stage in stages.items() if "pipeline/policies/iql.py" in stage.deps}
    assert readers == {"baseline@iql-0"}
