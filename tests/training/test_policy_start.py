"""A policy continues from a stored one: with all its weights, in states that it knows, or not at all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_warm_start import FIRST, SMALL, fitted, logs, shifted, stored

from pipeline.data.dataset import PreparedDataset
from pipeline.imagination import RolloutSpec
from pipeline.policies import LEARNERS, POLICIES
from pipeline.policies.learned import LearnedPolicy
from pipeline.policies.start import PolicyStart
from pipeline.serving.load_bundle import load_bundle
from pipeline.serving.policy_start import load_policy_start
from pipeline.serving.save_policy import save_policy
from pipeline.training.config import TrainerConfig
from pipeline.training.learn_policy import learn_policy
from pipeline.training.policy_start import UNRELATED, continued_policy
from pipeline.training.session import Session
from pipeline.uncertainty import PenaltySpec
from pipeline.world_models.checkpoint import load_world_model
from pipeline.world_models.protocols import TrainableWorldModel

RSSM = {"deter": 12, "stoch": 4, "width": 12, "members": 2, "vector_std": 1.0}
PLAN = {"horizon": 2, "population": 4, "iterations": 1, "elites": 2}
STUDENT = {"updates": 3, "hidden": [8], "batch_size": 8}


def learn(
    model: TrainableWorldModel,
    dataset: PreparedDataset,
    name: str = "sac",
    start: PolicyStart | None = None,
    said: list[str] | None = None,
    **options: Any,
) -> LearnedPolicy:
    plans = LEARNERS[name].plans
    config = LEARNERS[name].Config(**{**(PLAN if plans else {"updates": 3, "hidden": [8], "batch_size": 8}), **options})
    session = Session(say=[].append if said is None else said.append, progress=False)
    rollout = RolloutSpec(length=2, starts=8, refresh_every=3)
    penalty = PenaltySpec("disagreement", 0.5)
    return learn_policy(name, config, model, dataset, penalty, rollout, TrainerConfig(), 0, session, start=start)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small ensemble and the logs that it was fitted to."""
    folder = tmp_path_factory.mktemp("first")
    stored(folder, **SMALL)
    return folder


def bundle(
    folder: Path, model: TrainableWorldModel, dataset: PreparedDataset, name: str, **options: Any
) -> PolicyStart:
    save_policy(folder, learn(model, dataset, name, **options), dataset)
    return load_policy_start(folder)


@pytest.mark.parametrize("name", POLICIES)
def test_any_learner_goes_on_with_all_its_weights_and_new_optimizers(name: str, first: Path, tmp_path: Path) -> None:
    model, dataset = load_world_model(first / "model"), logs(tmp_path / "logs")
    start = bundle(tmp_path / "policy", model, dataset, name)
    built: list[Any] = []

    def build(options: Any) -> Any:
        built.append(learn(model, dataset, name, **vars(options)).policy)
        return built[-1]

    learner: Any = continued_policy(build, start.config, start, torch.zeros(4, model.state_dim))
    weights = start.policy.state_dict()
    assert learner.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[key]) for key, value in learner.state_dict().items())
    held = {id(p) for o in learner.optimizers() for group in o.param_groups for p in group["params"]}
    assert held == {id(p) for p in learner.parameters() if p.requires_grad}
    assert held
    after = learn(model, dataset, name, start)
    assert any(not torch.equal(value, weights[key]) for key, value in after.policy.state_dict().items())
    assert learn(model, dataset, name).start is None


def test_the_whole_chain_continues_on_new_logs_and_the_card_names_it(first: Path, tmp_path: Path) -> None:
    model, old, new = load_world_model(first / "model"), logs(tmp_path / "old"), logs(tmp_path / "new", shifted(0.1))
    start = bundle(tmp_path / "0", model, old, "sac")
    fit = dataclasses.replace(FIRST, start_from=str(first / "model"))
    continued, _ = fitted(new, "gaussian_ensemble", fit, **SMALL)
    save_policy(tmp_path / "1", learn(continued, new, start=start, updates=5), new)
    _, _, spec = load_bundle(tmp_path / "1")
    assert spec.statistics == start.data_spec.statistics
    assert spec.start is not None
    assert vars(spec.start) == {"weights_sha256": start.digest, "updates_before": 3, "updates_since": 5}
    assert load_policy_start(tmp_path / "1").updates == 8
    card = (tmp_path / "1/README.md").read_text()
    assert f"the policy of SHA-256 `{start.digest}` after 3 updates, with 5 more" in card
    assert "nothing: learned from scratch" in (tmp_path / "0/README.md").read_text()
    with pytest.raises(ValueError, match=r"has other scales .*\(`obs_mean` is .* and was .*\): continue that one by"):
        learn(fitted(new, "gaussian_ensemble", **SMALL)[0], new, start=start)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bc", {}, "`policy.name` is bc, and .* holds a sac: set it to that, or `policy.start_from: null`"),
        ("sac", {"hidden": [9]}, r"`policy.hidden` is \[9\] and was \[8\]: weights of other shapes than in "),
        ("sac", {"critics": 3}, "`policy.critics` is 3 and was 2: weights of other shapes"),
        ("sac", {"centered_values": True}, r"gives its weights another meaning under .* \(centered_values\)"),
    ],
)
def test_another_learner_is_refused(
    name: str, options: dict[str, Any], message: str, first: Path, tmp_path: Path
) -> None:
    model, dataset = load_world_model(first / "model"), logs(tmp_path / "logs")
    start = bundle(tmp_path / "policy", model, dataset, "sac")
    with pytest.raises(ValueError, match=message):
        learn(model, dataset, name, start, **options)


def test_other_states_and_other_actions_are_refused(first: Path, tmp_path: Path) -> None:
    model, dataset = load_world_model(first / "model"), logs(tmp_path / "logs")
    start = bundle(tmp_path / "policy", model, dataset, "sac")
    with pytest.raises(
        ValueError, match="gives 5 numbers of a HistoryEncoder, and the policy learned in 1 of a Standard"
    ):
        learn(fitted(dataset, "gaussian_ensemble", history=2, **SMALL)[0], dataset, start=start)
    other = logs(tmp_path / "other", action_high=[2.0])
    with pytest.raises(ValueError, match=r"actions lie in \[-1.0\] to \[2.0\].*, or set `policy.start_from: null`"):
        learn(model, other, start=start)


def test_a_recurrent_model_moves_its_states_and_a_new_one_is_refused(tmp_path: Path) -> None:
    dataset = logs(tmp_path / "logs")
    model = load_world_model(stored(tmp_path, "rssm", **RSSM))
    start = bundle(tmp_path / "policy", model, dataset, "sac")
    said: list[str] = []
    learn(model, dataset, start=start, said=said)
    assert not any("moved" in line for line in said)
    fit = dataclasses.replace(FIRST, start_from=str(tmp_path / "model"), improvement=0.0)
    learn(fitted(dataset, "rssm", fit, **RSSM)[0], dataset, start=start, said=said)
    assert any("the states of the world model moved by 0.0" in line for line in said), said
    with pytest.raises(ValueError, match=r"moved by [\d.]+ of their variance .*: continue its world model by"):
        learn(fitted(dataset, "rssm", seed=1, **RSSM)[0], dataset, start=start)
    assert 0 < UNRELATED < 2


def test_a_planner_continues_with_its_student_and_has_no_weights_without_one(first: Path, tmp_path: Path) -> None:
    model, dataset = load_world_model(first / "model"), logs(tmp_path / "logs")
    start = bundle(tmp_path / "student", model, dataset, "cem", terminal_value=STUDENT)
    again = learn(model, dataset, "cem", start, terminal_value=STUDENT)
    assert again.start is not None
    assert again.start.updates_before == 3
    save_policy(tmp_path / "plain", learn(model, dataset, "cem"), dataset)
    with pytest.raises(
        ValueError, match=r"a cem without `terminal_value` has no weights: set `policy.start_from: null`"
    ):
        load_policy_start(tmp_path / "plain")


def test_a_bundle_of_an_earlier_version_is_compared_by_shapes(first: Path, tmp_path: Path) -> None:
    model, dataset = load_world_model(first / "model"), logs(tmp_path / "logs")
    bundle(tmp_path / "policy", model, dataset, "sac")
    file = tmp_path / "policy/bundle.json"
    content = json.loads(file.read_text())
    del content["dataset"]["obs_names"], content["start"], content["sha256"]
    file.write_text(json.dumps(content))
    start = load_policy_start(tmp_path / "policy")
    assert start.data_spec.layout is None
    assert learn(model, dataset, start=start).start is not None
