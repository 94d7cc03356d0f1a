"""A bundle acts as the learner did, and one that cannot be trusted is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from toys import build_data_spec, linear_world, rewrite

from pipeline.encoders.standard import StandardEncoder
from pipeline.policies.bc import BCConfig, BehaviorCloning
from pipeline.policies.learner_spec import LearnerSpec
from pipeline.serving.agent import load_agent
from pipeline.serving.bundle import BundleSpec, save_bundle
from pipeline.validation.stored import DIGEST


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    facts = build_data_spec(linear_world(200))
    torch.manual_seed(0)
    learner = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2))
    described = BundleSpec(
        policy="bc", config={"hidden": [8]}, obs_shapes=facts.obs_shapes, statistics=facts.statistics,
        action_low=[-2.0, 0.0], action_high=[2.0, 10.0], env_id=None, env_kwargs={}, dataset={"name": "toy"}, seed=0,
        privileged_knowledge=[],
    )  # fmt: skip
    encoder = StandardEncoder(facts.obs_shapes, facts.statistics)
    save_bundle(tmp_path / "bundle", learner, encoder, described, {"rows": []}, "# card\n")
    return tmp_path / "bundle"


def test_acts_in_raw_units(bundle):
    raw = linear_world(5, seed=3)
    agent = load_agent(bundle)
    agent.reset(5)
    actions = agent.act(raw["obs"].numpy())
    torch.manual_seed(0)
    learner, facts = BehaviorCloning(BCConfig(hidden=[8]), LearnerSpec(3, 2)), build_data_spec(linear_world(200))
    with torch.no_grad():
        squashed = learner.act(StandardEncoder(facts.obs_shapes, facts.statistics).encode(raw["obs"]), None).numpy()
    np.testing.assert_allclose(actions, np.array([-2.0, 0.0]) + (squashed + 1) / 2 * np.array([4.0, 10.0]), rtol=1e-5)
    assert actions.shape == (5, 2)


def test_observations_that_do_not_fit_are_named(bundle):
    agent = load_agent(bundle)
    agent.reset(2)
    with pytest.raises(ValueError, match="expected \\(batch, 3\\)"):
        agent.act(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="not finite"):
        agent.act(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="call reset"):
        agent.act(np.zeros((3, 3)))


def test_hostile_pickle_is_not_executed(bundle, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    (bundle / "weights.safetensors").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match="SHA-256"):
        load_agent(bundle)
    digest = __import__("hashlib").sha256((bundle / "weights.safetensors").read_bytes()).hexdigest()
    rewrite(bundle / "bundle.json", weights_sha256=digest)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_agent(bundle)
    assert not (tmp_path / "owned").exists()


def test_damaged_weights_are_refused(bundle):
    file = bundle / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="SHA-256"):
        load_agent(bundle)


def test_weights_that_are_not_finite_are_refused(bundle):
    raw = save({"actor.net.0.weight": torch.full((8, 3), float("nan"))})
    (bundle / "weights.safetensors").write_bytes(raw)
    rewrite(bundle / "bundle.json", weights_sha256=__import__("hashlib").sha256(raw).hexdigest())
    with pytest.raises(ValueError, match="not finite"):
        load_agent(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "newer"),
        ({"schema_version": 1}, "`encoder` was `filter`"),
        ({"schema_version": None}, "no schema_version"),
        ({"policy": "os.system"}, "do not fit"),
        ({"encoder": "../../evil"}, "`encoder`: `../../evil` must be one of standard"),
        ({"config": {"hidden": [16]}}, "do not fit"),
        ({"action_low": [1.0, 1.0], "action_high": [0.0, 2.0]}, "bounds"),
        ({"surprise": 1}, "`surprise`: is unknown"),
        ({"seed": True}, "`seed`: True must be a whole number"),
        ({"seed": "0"}, "`seed`: `0` must be a whole number"),
        ({"action_kind": "discreet"}, "`action_kind`: `discreet` must be one of continuous, discrete"),
        ({"action_low": [-2.0]}, "bounds"),
        ({"obs_shapes": []}, "`obs_shapes`: .* must be a block"),
        ({"obs_shapes": {}}, "`obs_shapes`: .* at least 1"),
        ({"obs_shapes": {"state": ["a"]}}, "`obs_shapes.state.0`: `a` must be a whole number"),
        ({"obs_shapes": {"state": [10**9]}}, "more than 10,000,000 numbers"),
        ({"obs_shapes": {"state": [4]}}, "4 features, statistics.obs_mean 3"),
        ({"penalty": None}, "`penalty`: None must be a block"),
        ({"config": ""}, "`config`: `` must be a block"),
        ({"action_high": [10**400, 10.0]}, "`action_high.0`: .* must be a number"),
        ({"action_high": [2.0, float("1e300")]}, "`action_high.1`: .* must be at most 3.4"),
        ({"action_low": [-3e38, 0.0], "action_high": [3e38, 1.0]}, "bounds"),
    ],
)
def test_bundles_that_cannot_be_right_are_refused(bundle, changes, message):
    rewrite(bundle / "bundle.json", **changes)
    with pytest.raises(ValueError, match=message):
        load_agent(bundle)


def test_scales_that_do_not_fit_are_refused(bundle):
    statistics = json.loads((bundle / "bundle.json").read_text())["statistics"]
    rewrite(bundle / "bundle.json", statistics={**statistics, "obs_std": statistics["obs_std"][:2]})
    with pytest.raises(ValueError, match="`statistics`: obs_std has 2 entries, expected 3"):
        load_agent(bundle)
    described = json.loads((bundle / "bundle.json").read_text())
    described["statistics"] = {**statistics, "obs_mean": [0]}
    text = json.dumps({key: value for key, value in described.items() if key != DIGEST})
    (bundle / "bundle.json").write_text(text.replace('"obs_mean": [0]', '"obs_mean": [1e999, 0.0, 0.0]'))
    with pytest.raises(ValueError, match=r"`statistics.obs_mean.0`: inf must be a finite number;"):
        load_agent(bundle)


def test_not_json_and_not_there(bundle):
    (bundle / "bundle.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        load_agent(bundle)
    (bundle / "bundle.json").unlink()
    with pytest.raises(ValueError, match="not found"):
        load_agent(bundle)
