"""Where a training continues from is checked before any stage works."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closure import ROOT
from dulwich.ignore import IgnoreFilter
from toys import hidden_velocity, linear_world, saved_cloning, small_ensemble

from pipeline.ingest.writer import write_dataset
from pipeline.params import read_params
from pipeline.stages.preflight import check
from pipeline.world_models.checkpoint import save_world_model

SMALL = {"name": "gaussian_ensemble", "members": 3, "elites": 2, "width": 32, "depth": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_world_model(tmp_path / "data/start/world_model/seed-0", small_ensemble(linear_world(50)), {})
    return tmp_path


def params(start_from: str | None, **model: Any) -> dict[str, Any]:
    plain = read_params(ROOT / "params.yaml")
    return {**plain, "world_model": {**SMALL, **model}, "fit": {**plain["fit"], "start_from": start_from}}


@pytest.mark.parametrize("path", ["data/start/world_model", "data/start/world_model/seed-0"])
def test_a_start_that_fits_passes(path: str) -> None:
    check(params(path))
    check(params(None))


@pytest.mark.parametrize(
    "path", ["data/world_model", "data/world_model/seed-0", "/tmp", "data/start/world_model/../.."]
)
def test_a_start_that_dvc_does_not_watch_is_refused_with_the_fix(path: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"is not below data/start/world_model, which DVC watches: copy it there, such as `cp -r data/w",
    ):
        check(params(path))


def test_a_link_that_leaves_the_watched_folder_is_refused(folder: Path) -> None:
    save_world_model(folder / "data/world_model/seed-0", small_ensemble(linear_world(50)), {})
    (folder / "data/start/world_model/mine").symlink_to(folder / "data/world_model")
    with pytest.raises(ValueError, match="is not below data/start/world_model"):
        check(params("data/start/world_model/mine"))


def test_other_options_and_a_seed_without_a_start_are_refused_before_ingest() -> None:
    with pytest.raises(ValueError, match=r"`world_model.width` is 64 and was 32"):
        check(params("data/start/world_model", width=64))
    with pytest.raises(
        ValueError, match=r"neither data/start/world_model nor data/start/world_model/seed-1 holds a model"
    ):
        check({**params("data/start/world_model"), "seeds": [0, 1]})
    check({**params("data/start/world_model", width=64)}, "evaluate")  # nothing is fitted any more


def test_other_logs_are_refused_once_they_are_known(folder: Path) -> None:
    write_dataset(folder / "data/dataset", hidden_velocity(6), "line", 0.2, 0)
    check(params("data/start/world_model"))  # before ingest they may change
    with pytest.raises(ValueError, match=r"observations have shapes {'state': \[1\]}, and had {'state': \[3\]}"):
        check(params("data/start/world_model"), "fit_world_model")


@pytest.fixture
def policy(folder: Path) -> Path:
    """A bundle of a policy that clones: three observations, one action."""
    return saved_cloning(folder / "data/start/policy/seed-0")


def cloning(start_from: str | None, name: str = "bc", **options: Any) -> dict[str, Any]:
    plain = params(None)
    return {**plain, "policy": {"name": name, "start_from": start_from, "hidden": [4], **options}}


def test_a_policy_that_fits_passes_and_another_is_refused_before_ingest(policy: Path) -> None:
    check(cloning("data/start/policy"))
    check(cloning(None))
    with pytest.raises(ValueError, match=r"`policy.name` is sac, and data/start/policy/seed-0 holds a bc: set it to"):
        check(cloning("data/start/policy", "sac"))
    with pytest.raises(
        ValueError, match=r"`policy.hidden` is \[5\] and was \[4\]: weights of other shapes than in data/"
    ):
        check(cloning("data/start/policy", hidden=[5]))
    with pytest.raises(ValueError, match=r"is not below data/start/policy, .* `cp -r data/policy data/start/`"):
        check(cloning("data/policy/seed-0"))


def test_a_policy_of_other_scales_is_refused_before_a_world_model_is_fitted(policy: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="the world model has other scales than the one the policy learned in"):
        check(cloning("data/start/policy") | {"fit": params("data/start/world_model")["fit"]})
    logged = hidden_velocity(6)
    episodes = [replace(e, obs={"state": np.repeat(e.obs["state"], 3, axis=1)}) for e in logged.episodes]
    write_dataset(folder / "data/dataset", replace(logged, episodes=episodes), "line", 0.2, 0)
    with pytest.raises(ValueError, match=r"fitted from scratch to these logs has other scales .* `fit.start_from`"):
        check(cloning("data/start/policy"), "fit_world_model")


def test_git_ignores_what_is_copied_to_the_start_and_dvc_may_track_it() -> None:
    ignored = IgnoreFilter.from_path(ROOT / ".gitignore").is_ignored
    for name in ("world_model", "policy"):
        assert not ignored(f"data/start/{name}/README.md")
        assert not ignored(f"data/start/{name}/seed-0.dvc")
        assert ignored(f"data/start/{name}/seed-0/")
        assert ignored(f"data/start/{name}/.gitignore")
