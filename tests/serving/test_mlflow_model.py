"""A bundle as an MLflow model, and run by the CLI."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import mlflow.pyfunc
import numpy as np
import pytest
import yaml
from toys import rewrite, saved_cloning

from pipeline.cli.evaluate import evaluate_bundle
from pipeline.cli.export import export_onnx
from pipeline.cli.plot import _labeled, _newest, list_metrics, plot_metric
from pipeline.serving.agent import load_agent
from pipeline.serving.mlflow_logging import save_policy_model
from pipeline.stages import preflight
from pipeline.stages.stage import stage

ROOT = Path(preflight.__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_cloning(tmp_path_factory.mktemp("policy") / "seed-0")


def test_logged_model_serves_the_actions_of_the_agent(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(preflight, "check", lambda *arguments: None)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seeds": [0]}))
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with warnings.catch_warnings(), stage("learn_policy", seed=0) as run:
        agent = load_agent(bundle)
        agent.reset(2)
        if run.is_main:
            warnings.simplefilter("error")  # a warning of a library would stand in every log file
            action = agent.act(obs[:2])
            run.log_model("pendulum-bc-seed-0", lambda model: save_policy_model(bundle, model, obs[:2], action))
    agent = load_agent(bundle)
    agent.reset(5)
    model = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/pendulum-bc-seed-0")
    np.testing.assert_allclose(model.predict(obs), agent.act(obs), atol=1e-6)
    assert (tmp_path / ".work/mlflow.db").exists()
    assert list((tmp_path / ".work/mlartifacts").rglob("weights.safetensors"))


def test_bundle_runs_in_its_environment(bundle: Path) -> None:
    lines = evaluate_bundle(bundle, episodes=2, env_id=None, seed=0)
    assert lines[0] == "Pendulum-v1, 2 episodes from seed 0"
    assert lines[2] == "length: mean 200.0 steps"


def test_evaluate_without_a_bundle_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "evaluate", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_onnx_acts_as_the_bundle(bundle: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    export_onnx(bundle, tmp_path / "policy.onnx")
    obs = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    agent = load_agent(bundle)
    agent.reset(7)
    (action,) = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx")).run(None, {"obs": obs})
    np.testing.assert_allclose(action, agent.act(obs), atol=1e-5)


def test_onnx_says_what_goes_in_and_out(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    bundle = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    described = json.loads((bundle / "bundle.json").read_text())
    described["dataset"] |= {"obs_names": {"state": ["temp", "cos", "sin"]}, "action_names": ["valve"]}
    described["dataset"] |= {"units": {"temp": "°C", "valve": "%"}}
    rewrite(bundle / "bundle.json", **described)
    (line,) = export_onnx(bundle, tmp_path / "policy.onnx")
    assert "differs from the bundle by at most" in line
    assert capfd.readouterr() == ("", "")
    stored = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx")).get_modelmeta().custom_metadata_map
    obs, action = json.loads(stored["obs"]), json.loads(stored["action"])
    low, high = (described["statistics"][key] for key in ("obs_min", "obs_max"))
    assert obs[0] == {"name": "temp", "unit": "°C", "low": low[0], "high": high[0]}
    assert [entry["name"] for entry in obs] == ["temp", "cos", "sin"]
    bounds = {"low": described["action_low"][0], "high": described["action_high"][0]}
    assert action == [{"name": "valve", "unit": "%", **bounds}]
    assert json.loads(stored["policy"])["seed"] == described["seed"]


def test_plot_names_each_curve_by_what_sets_its_run_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(preflight, "check", lambda *arguments: None)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seeds": [0]}))
    for weight, last in ((0.5, 3.0), (2.0, 1.0), (2.0, 7.0)):  # the last repeats the params of the one before
        with stage("learn_policy", seed=0) as run:
            run.log_params({"penalty": {"name": "ensemble_std", "weight": weight}})
            run.log_metrics({"policy/loss": 9.0}, step=1)
            run.log_metrics({"policy/loss": last}, step=2)
    plot_metric("policy/loss", tmp_path / "loss.png")
    curves = json.loads((tmp_path / "loss.json").read_text())["curves"]
    assert {k: c["value"] for k, c in curves.items()} == {
        "penalty.weight 0.5, seed 0": [9.0, 3.0],
        "penalty.weight 2.0, seed 0": [9.0, 7.0],
    }
    with pytest.raises(ValueError, match=r"no run in .* has the metric `policy/los` \(did you mean `policy/loss`\?\)"):
        plot_metric("policy/los", tmp_path / "nothing.png")
    assert list_metrics() == ["policy/loss  3 runs"]


def test_curves_of_two_datasets_are_told_apart() -> None:
    def run(name: str, digest: str) -> SimpleNamespace:
        used = [SimpleNamespace(dataset=SimpleNamespace(name=name, digest=digest))]
        data = SimpleNamespace(params={"penalty.weight": "1"}, tags={"pipeline.seed": "0"})
        inputs = SimpleNamespace(dataset_inputs=used)
        return SimpleNamespace(data=data, info=SimpleNamespace(run_name="learn_policy"), inputs=inputs)

    runs = [run("plant", "0123456789"), run("plant", "abcdef0123"), run("plant", "abcdef0123")]
    assert list(_labeled(_newest(runs))) == ["dataset plant 012345, seed 0", "dataset plant abcdef, seed 0"]


def test_curves_are_sorted_by_the_size_of_numbers_and_words_by_letters() -> None:
    def run(penalty: str, weight: object, seed: int) -> SimpleNamespace:
        params = {"penalty.name": penalty, "penalty.weight": str(weight), "same": "1"}
        data = SimpleNamespace(params=params, tags={"pipeline.seed": str(seed)})
        inputs = SimpleNamespace(dataset_inputs=[])
        return SimpleNamespace(data=data, info=SimpleNamespace(run_name="learn_policy"), inputs=inputs)

    runs = [run("b", 1, 0), run("a", 20, 10), run("a", 20, 9), run("a", 5.0, 0), run("a", "1e-1", 0), run("a", None, 0)]
    assert [(r.data.params["penalty.weight"], r.data.tags["pipeline.seed"]) for r in _labeled(runs).values()] == [
        *(("1e-1", "0"), ("5.0", "0"), ("20", "9"), ("20", "10"), ("None", "0")),  # of penalty a
        ("1", "0"),
    ]
    assert next(iter(_labeled(runs))) == "penalty.name a, penalty.weight 1e-1, seed 0"
