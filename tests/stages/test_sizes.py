"""What several options need together is compared with the memory of the machine, before any work."""

import copy
from typing import Any

import pytest
from closure import ROOT

from pipeline.params import read_params
from pipeline.stages.preflight import blocks, check, load
from pipeline.stages.sizes import GIB, check_memory, mlp_bytes, needs

RSSM = {"name": "rssm"}
CEM = {"name": "cem"}


def changed(change: dict[str, dict[str, Any]]) -> dict[str, Any]:
    params = copy.deepcopy(read_params(ROOT / "params.yaml"))
    for name, block in change.items():
        params[name] = {**params[name], **block}
    return params


def configs(change: dict[str, dict[str, Any]]) -> dict[str, Any]:
    params = changed(change)
    loaded = {name: load(kind, params, name) for name, kind in blocks().items()}
    return {**loaded, "baselines": params["baselines"]}


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"fit": {"batch_size": 10**9}}, "`fit.batch_size` and `width`, `depth` and `members` of `world_model`"),
        ({"world_model": {"width": 65_536}}, "`fit.batch_size` and `width`, `depth` and `members`"),
        ({"world_model": {**RSSM, "deter": 65_536}}, "`fit.batch_size`, `fit.window` and `deter`, `stoch`"),
        ({"world_model": RSSM, "fit": {"window": 10**9, "batch_size": 10**9}}, "`fit.batch_size`, `fit.window`"),
        ({"rollout": {"starts": 10**9}}, "`starts`, `length` and `retain` of `rollout`"),
        ({"rollout": {"retain": 10**9}}, "`starts`, `length` and `retain` of `rollout`"),
        ({"rollout": {"starts": 10**6, "length": 10_000}}, "`starts`, `length` and `retain` of `rollout`"),
        ({"policy": {"batch_size": 10**9}}, "`hidden`, `critics` and `batch_size` of `policy`"),
        ({"policy": {"hidden": [65_536] * 10}}, "`hidden`, `critics` and `batch_size` of `policy`"),
        (
            {"policy": {"name": "actor_critic", "batch_size": 10**6, "horizon": 10**5}},
            "`hidden` and `batch_size` of `p",
        ),
        (
            {"policy": {**CEM, "population": 10**9, "horizon": 100}},
            "`population`, `horizon` and `particles` of `policy`",
        ),
        (
            {"policy": {**CEM, "terminal_value": {"batch_size": 10**9}}},
            "`hidden`, `critics` and `batch_size` of `policy.t",
        ),
        ({"bc": {"batch_size": 10**9}}, "`hidden` and `batch_size` of `bc`"),
        ({"td3_bc": {"batch_size": 10**9}}, "`hidden` and `batch_size` of `td3_bc`"),
        ({"offline": {"critics": 1000, "batch_size": 10**7}}, "`hidden`, `critics` and `batch_size` of `offline`"),
    ],
)
def test_what_cannot_fit_is_refused_in_one_line(change: dict[str, dict[str, Any]], keys: str):
    with pytest.raises(ValueError, match=r"need at least [\d,e+]+ GiB of memory together") as caught:
        check_memory(configs(change), total=128 * GIB)
    assert str(caught.value).startswith(f"params.yaml: {keys}")
    assert str(caught.value).endswith("and this machine has 128 GiB; lower one of them")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"trainer": {"accelerator": "gpu"}, "fit": {"batch_size": 10**9}},
        {"policy": {"name": "actor_critic"}, "rollout": {"starts": 10**9}},  # which keeps no imagined steps
        {"policy": CEM, "rollout": {"starts": 10**9}},
        {"policy": {"hidden": []}},
        {"rebrac": {"batch_size": 10**9}},  # which is not listed
    ],
)
def test_the_rest_is_not(change: dict[str, dict[str, Any]]):
    check_memory(configs(change), total=GIB)


def test_a_later_stage_asks_for_what_it_does_itself():
    """A model that a server has trained is reported on a laptop."""
    large = configs({"fit": {"batch_size": 10**9}})
    for stage in ("ingest", "fit_world_model"):
        with pytest.raises(ValueError, match=r"`fit\.batch_size`"):
            check_memory(large, stage, total=GIB)
    for stage in ("learn_policy", "evaluate", "report"):
        check_memory(large, stage, total=GIB)


def test_estimates_are_lower_bounds():
    """Weights of a critic of 10 x 20 x 1 units: 10 inputs, of which the estimate counts one."""
    assert mlp_bytes([20], rows=0) == 16 * (20 + 20)
    assert mlp_bytes([], rows=0) == 16
    assert all(need.bytes < GIB / 4 for need in needs(configs({})))


def test_trainings_of_days_are_a_warning(capsys: pytest.CaptureFixture[str]):
    check(changed({}))
    assert capsys.readouterr().out == ""
    check(changed({"policy": {"updates": 10**9}}))
    line = "warning: `policy.updates: 1000000000` takes 278 hours at 1000 updates a second\n"
    assert capsys.readouterr().out == line
