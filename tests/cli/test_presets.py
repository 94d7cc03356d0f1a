"""Every preset gives valid params, and the default preset is the way back from each."""

from pathlib import Path

import pytest
from closure import ROOT

from pipeline.cli.preset import PRESETS, apply_preset
from pipeline.params import read_params
from pipeline.stages import preflight

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
DEFAULT = "pendulum"
DATASETS = {
    "ci": None,
    "pendulum-actor-critic": "pendulum",
    "pendulum-cem": "pendulum",
    "pendulum-rssm": "pendulum",
    "pendulum-variational": "pendulum",
    "pendulum-masked-rssm": "pendulum-masked",
    "hopper-mixed-rssm": "hopper-mixed",
}  # of the presets that are not named after theirs


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of params.yaml as it is when the default preset is in force."""
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    apply_preset(DEFAULT, file)
    return file


def test_committed_params_are_the_default_preset(params: Path):
    assert read_params(params) == read_params(ROOT / "params.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_preset_passes_all_checks_and_keeps_the_blocks(name: str, params: Path):
    blocks = list(read_params(params))
    apply_preset(name, params)
    changed = read_params(params)
    preflight.check(changed)
    assert list(changed) == blocks
    assert changed["dataset"].get("name") == DATASETS.get(name, name)


@pytest.mark.parametrize("name", [n for n in NAMES if n != DEFAULT])
def test_the_way_back_restores_every_value(name: str, params: Path):
    before = read_params(params)
    apply_preset(name, params)
    assert read_params(params) != before
    apply_preset(DEFAULT, params)
    assert read_params(params) == before, f"presets/{DEFAULT}.yaml and params.yaml must hold every key that {name} sets"


def test_comments_survive_the_round_trip(params: Path):
    for name in (*NAMES, DEFAULT):
        apply_preset(name, params)
    text = params.read_text()
    for comment in ("# each seed is its own model and policy", "# max_aleatoric, disagreement"):
        assert comment in text


def test_another_class_brings_its_own_keys(params: Path):
    apply_preset("pendulum-actor-critic", params)
    policy = read_params(params)["policy"]
    assert policy["name"] == "actor_critic"
    assert "layer_norm" not in policy  # a key of the policy before it
